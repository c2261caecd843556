"""All commands in the order of `bloodsearch --help`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from .. import __version__
from . import (
    compare,
    dashboard,
    data,
    demo,
    doctor,
    export,
    final,
    leaderboard,
    optimize,
    output,
    plan,
    predict,
    replay,
    report,
    show,
    status,
    stop,
    studies,
    submit,
    worker,
)
from .debug import with_debug

COMMANDS: tuple[tuple[str, Callable[..., None], str], ...] = (
    ("optimize", optimize.optimize, "Run or resume a search."),
    ("plan", plan.plan, "Say what a search will cost here."),
    ("worker", worker.worker, "Join a study from any machine."),
    ("stop", stop.stop, "Drain every worker of a study."),
    ("status", status.status, "Show counts, the best trial, workers and the time left."),
    ("leaderboard", leaderboard.leaderboard, "List finished trials, best first."),
    ("show", show.show, "Show one trial: configuration, curve, classes."),
    ("replay", replay.replay, "Train a trial again and compare the curve."),
    ("final-eval", final.final_eval, "Retrain the winner and open the test split once."),
    ("compare", compare.compare, "Compare two configurations over replicates."),
    ("report", report.report, "Write a report: figures, tables, a model card."),
    ("export", export.export, "Write the final model as one file."),
    ("predict", predict.predict, "Predict the classes of images."),
    ("dashboard", dashboard.dashboard, "Browse the studies in optuna-dashboard."),
    ("doctor", doctor.doctor, "Check packages, devices, data and storage."),
    ("demo", demo.demo, "Search and evaluate in about two minutes."),
)
"""Name, function and one-line summary of each command."""


def _version(show: bool) -> None:
    if show:
        output.line(f"bloodsearch {__version__}")
        raise typer.Exit


def build_app() -> typer.Typer:
    app = typer.Typer(
        name="bloodsearch",
        help="Hyperparameter search for small medical images: BloodMNIST, any MedMNIST set, your own.",
        epilog="Start with: bloodsearch demo",
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def root(
        version: Annotated[
            bool, typer.Option("--version", callback=_version, is_eager=True, help="The version.")
        ] = False,
    ) -> None:
        pass

    for name, function, summary in COMMANDS:
        app.command(name, short_help=summary)(with_debug(function))
    app.command("worker-process", hidden=True)(worker.worker_process)
    app.add_typer(studies.app, name="studies")
    app.add_typer(data.app, name="data")
    app.add_typer(submit.app, name="submit")
    return app
