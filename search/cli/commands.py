"""All commands in the order of `bloodsearch --help`."""

from __future__ import annotations

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
    predict,
    replay,
    report,
    show,
    status,
    stop,
    studies,
    worker,
)


def _version(show: bool) -> None:
    if show:
        output.line(f"bloodsearch {__version__}")
        raise typer.Exit


def build_app() -> typer.Typer:
    app = typer.Typer(
        name="bloodsearch",
        help="Hyperparameter search for blood-cell classification (BloodMNIST).",
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

    app.command("optimize")(optimize.optimize)
    app.command("worker")(worker.worker)
    app.command("worker-process", hidden=True)(worker.worker_process)
    app.command("stop")(stop.stop)
    app.command("status")(status.status)
    app.command("leaderboard")(leaderboard.leaderboard)
    app.command("show")(show.show)
    app.command("replay")(replay.replay)
    app.command("final-eval")(final.final_eval)
    app.command("compare")(compare.compare)
    app.command("report")(report.report)
    app.command("export")(export.export)
    app.command("predict")(predict.predict)
    app.command("dashboard")(dashboard.dashboard)
    app.add_typer(studies.app, name="studies")
    app.add_typer(data.app, name="data")
    app.command("doctor")(doctor.doctor)
    app.command("demo")(demo.demo)
    return app
