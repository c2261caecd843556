"""`bloodsearch status`: show counts, the best trial, workers and the time left."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...studies import DEFAULT_STUDY
from ..errors import Interrupted, UsageError
from . import output
from .options import (
    JsonOption,
    NameOption,
    StorageOption,
    StudyArgument,
    find_study,
)
from .suggest import command, next_line, where

if TYPE_CHECKING:
    import optuna

    from ..database.storage import Storage
    from ..watch.snapshot import Snapshot
    from ..watch.watcher import Watcher
    from .live import LiveView

LOOK_EVERY_S = 2.0
RECLAIM_EVERY_S = 10.0
"""How often --watch puts back the trials of dead workers. Living workers do so, too."""


def status(
    study: StudyArgument = DEFAULT_STUDY,
    storage: StorageOption = None,
    name: NameOption = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Keep the view up to date until Ctrl-C.")
    ] = False,
    json: JsonOption = False,
) -> None:
    """Show counts by state, the best trial so far, the workers and the time left."""
    if watch and json:
        raise UsageError(
            "--watch does not go with --json, which prints one object; repeat the command instead"
        )
    from ..watch.watcher import Watcher

    opened, stored = find_study(study, storage, name)
    n_reclaimed = _reclaim(opened, stored)
    watcher = Watcher(opened, stored)
    snapshot = watcher.look()
    if json:
        output.as_json(_record(opened, stored, snapshot, n_reclaimed))
        return
    if n_reclaimed:
        watcher.happened(f"{n_reclaimed} trials of dead workers were put back")
        snapshot = watcher.look()
    if watch:
        _watch(watcher, opened, stored)
        return
    _show(snapshot)
    _show_ladder(opened, stored)
    _show_evaluation(opened, stored, snapshot)
    if command_ := _next(snapshot, opened, stored, where(study, storage, stored.study_name)):
        next_line(*command_)


def _reclaim(storage: Storage, study: optuna.Study) -> int:
    """Put back the trials of dead workers and return their number; 0 on a read-only database."""
    from ..database.outage import is_read_only
    from ..workers.leases import Leases

    try:
        return Leases(storage, study).reclaim_confirmed()
    except Exception as error:
        if not is_read_only(error):
            raise
        output.message("the database is read-only: trials of dead workers are not put back now")
        return 0


def _watch(watcher: Watcher, storage: Storage, study: optuna.Study) -> None:
    """Show the study until Ctrl-C, or until the reader of a pipe has left."""
    from ..database.outage import is_outage
    from .live import LiveView

    view = LiveView(output.stdout, clock=False) if output.can_draw(output.stdout) else None
    reclaimed_at = time.monotonic()
    interrupted = False
    try:
        while not output.reader_left():
            if time.monotonic() - reclaimed_at > RECLAIM_EVERY_S:
                reclaimed_at = time.monotonic()
                try:
                    if n := watcher.leases.reclaim():
                        watcher.happened(f"{n} trials of dead workers were put back")
                except Exception as error:
                    if not is_outage(error):
                        raise
            _show(watcher.look(), view)
            time.sleep(LOOK_EVERY_S)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        if view is not None:
            view.stop()
    if view is not None:
        _show(watcher.look())
    if interrupted:
        raise typer.Exit(Interrupted.exit_code)


def _record(
    storage: Storage, study: optuna.Study, snapshot: Snapshot, n_reclaimed: int
) -> dict[str, Any]:
    """Return the JSON object."""
    from ..evaluation.ledger import openings
    from ..summary import summarize

    summary = summarize(storage, study)
    summary["reclaimed"] = n_reclaimed
    summary["workers"] = [
        {
            "host": row.host,
            "node": row.node or None,
            "pid": row.pid,
            "device": row.device,
            "trial": row.trial,
            "beat_age_seconds": round(row.beat_age_s, 1),
            "family": row.family or None,
            "epoch": row.epoch,
            "epochs": row.epochs,
            "curve": row.curve,
        }
        for row in snapshot.workers
    ]
    summary["held_by_another_program"] = snapshot.held_by_another_program
    left = snapshot.seconds_left
    summary["seconds_left"] = None if left is None else round(left, 1)
    summary["test_openings"] = len(openings(storage, study.study_name))
    return summary


def _show(snapshot: Snapshot, view: LiveView | None = None) -> None:
    from .view import StudyView

    if view is not None:
        view.show(snapshot)
        return
    output.rendered(StudyView(snapshot))
    if nodes := Counter((row.host, row.node) for row in snapshot.workers if row.node):
        shown = (f"{host} ({node}): {n}" for (host, node), n in sorted(nodes.items()))
        output.line(f"workers on the cluster's nodes: {', '.join(shown)}")
    if snapshot.held_by_another_program:
        numbers = ", ".join(map(str, snapshot.held_by_another_program))
        output.line(
            f"held by another program: trial {numbers}; `bloodsearch stop --reclaim` puts them back"
        )


def _show_ladder(storage: Storage, study: optuna.Study) -> None:
    """Show the rungs of the study's ladder, once one above the search has begun."""
    from ..evaluation.ladder import rung_rows

    rows = rung_rows(storage, study)
    if not any(row["complete"] is not None for row in rows[1:]):
        return
    columns = ["rung#", "epochs", "trials#", "complete#", "running#", "best#", "trial#"]
    output.cut_table(
        columns,
        [
            (
                row["rung"],
                _epochs(row["epochs"]),
                *(
                    row[key]
                    for key in ("trials", "complete", "running", "best_value", "best_trial")
                ),
            )
            for row in rows
        ],
    )


def _epochs(epochs: int | dict[str, int]) -> str:
    if isinstance(epochs, int):
        return str(epochs)
    return ", ".join(f"{family} {n}" for family, n in epochs.items())


def _show_evaluation(storage: Storage, study: optuna.Study, snapshot: Snapshot) -> None:
    """Show what the last final evaluation found, and how often the test split was opened."""
    from ..evaluation.ledger import openings
    from ..results import final_results

    rows = openings(storage, study.study_name)
    results = final_results(row.result for row in rows)
    if results:
        last, score = results[-1], results[-1].test_macro_f1
        mean = "-" if score.mean is None else f"{score.mean:.4f}"
        sd = "" if score.known_std is None else f", sd {score.known_std:.4f} over {score.n} seeds"
        output.line(f"winner trial {last.trial}: test macro-F1 {mean}{sd}; files in {last.out}")
    if rows:
        output.line(f"test split opened: {len(rows)}")


def _next(
    snapshot: Snapshot, storage: Storage, study: optuna.Study, arguments: list[str]
) -> list[str]:
    """Return the commands that make sense now."""
    from ..evaluation.ledger import openings

    if snapshot.kind != "search":
        return []
    if snapshot.left != 0 or snapshot.n_trials is None:
        if snapshot.workers:
            return [command("status", *arguments, "--watch")]
        resume = ["--name", study.study_name, "--storage", storage.shown]
        budget = "N" if snapshot.n_trials is None else snapshot.n_trials
        return [command("optimize", *resume, "--trials", budget)]
    if openings(storage, study.study_name):
        return [command("report", *arguments), command("export", *arguments)]
    return [command("leaderboard", *arguments), command("final-eval", *arguments)]
