"""`bloodsearch status`: show counts, the best trial, workers and the time left."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...studies import DEFAULT_STUDY
from ..errors import UsageError
from . import output
from .options import (
    JsonOption,
    NameOption,
    StorageOption,
    StudyArgument,
    find_study,
)

if TYPE_CHECKING:
    import optuna

    from ..database.storage import Storage


def status(
    study: StudyArgument = DEFAULT_STUDY,
    storage: StorageOption = None,
    name: NameOption = None,
    watch: Annotated[bool, typer.Option("--watch", help="Repeat every 2 seconds.")] = False,
    json: JsonOption = False,
) -> None:
    """Show counts by state, the best trial so far, workers and their leases, the time left."""
    if watch and json:
        raise UsageError(
            "--watch does not go with --json, which prints one object; repeat the command instead"
        )
    opened, stored = find_study(study, storage, name)
    while True:
        snapshot = _snapshot(opened, stored)
        if json:
            output.as_json(snapshot)
        else:
            if watch and output.stdout.is_terminal:
                output.stdout.clear()
            _show_status(snapshot)
        if not watch or output.reader_left():
            return
        time.sleep(2)


def _snapshot(storage: Storage, study: optuna.Study) -> dict[str, Any]:
    from ..database.outage import is_read_only
    from ..evaluation.ledger import openings
    from ..summary import summarize
    from ..workers.leases import Leases

    leases = Leases(storage, study)
    try:
        reclaimed = leases.reclaim_confirmed()
    except Exception as error:
        if not is_read_only(error):
            raise
        reclaimed = 0
        output.message("the database is read-only: trials of dead workers are not put back now")
    summary = summarize(storage, study)
    workers = leases.registry.workers()
    numbers = {t._trial_id: t.number for t in study.get_trials(deepcopy=False)}
    summary["reclaimed"] = reclaimed
    summary["workers"] = [
        {
            "host": worker.host,
            "pid": worker.pid,
            "device": worker.device,
            "trial": None if worker.trial_id is None else numbers.get(worker.trial_id),
            "beat_age_seconds": round(worker.beat_age_s, 1),
        }
        for worker in workers
    ]
    summary["held_by_another_program"] = [
        numbers[trial_id] for trial_id in leases.registry.foreign_trials() if trial_id in numbers
    ]
    summary["seconds_left"] = _seconds_left(summary, len(workers))
    summary["test_openings"] = len(openings(storage, study.study_name))
    return summary


def _seconds_left(summary: dict[str, Any], n_workers: int) -> float | None:
    """Estimate from the mean time of the finished trials and the number of workers now."""
    finished = summary["complete"] + summary["pruned"]
    if not summary["n_trials"] or not finished or not n_workers:
        return None
    left = max(0, summary["n_trials"] - finished)
    seconds: float = left * summary["seconds"] / finished / n_workers
    return round(seconds, 1)


def _show_status(summary: dict[str, Any]) -> None:
    output.line(
        f"study {summary['study']} in {summary['storage']} ({summary['dataset']}, {summary['provenance']})"
    )
    done = summary["complete"] + summary["pruned"]
    asked = "" if summary["n_trials"] is None else f" of {summary['n_trials']}"
    output.line(
        f"{done}{asked} trials finished: {summary['complete']} complete, {summary['pruned']} pruned; "
        f"{summary['running']} running, {summary['waiting']} waiting, {summary['failed']} failed"
    )
    if summary["reclaimed"]:
        output.line(f"{summary['reclaimed']} trials of dead workers were put back")
    if summary["held_by_another_program"]:
        numbers = ", ".join(map(str, summary["held_by_another_program"]))
        output.line(
            f"held by another program: trial {numbers}; `bloodsearch stop --reclaim` puts them back"
        )
    if summary["best_value"] is not None:
        output.line(
            f"best validation macro-F1 {summary['best_value']:.4f} (trial {summary['best_trial']}): "
            f"{output.short_params(summary['best_params'])}"
        )
    if summary["seconds_left"]:
        output.line(f"about {output.duration(summary['seconds_left'])} left")
    if summary["test_openings"]:
        output.line(f"test split opened: {summary['test_openings']}")
    if summary["workers"]:
        output.table(
            ["host", "pid#", "device", "trial#", "last heartbeat#"],
            [
                (w["host"], w["pid"], w["device"], w["trial"], f"{w['beat_age_seconds']:.0f} s ago")
                for w in summary["workers"]
            ],
        )
