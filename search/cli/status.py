"""`bloodsearch status`, `leaderboard` and `show`: looking at a study, from anywhere, at any time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...studies import DEFAULT_STUDY
from ..errors import UsageError
from . import output
from .options import (
    DebugOption,
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
    watch: Annotated[bool, typer.Option("--watch", help="Look again every 2 seconds.")] = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Counts by state, the best so far, workers and their leases, time left."""
    if watch and json:
        raise UsageError("--watch does not go with --json, which is one object; ask again instead")
    opened, found = find_study(study, storage, name)
    while True:
        snapshot = _snapshot(opened, found)
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
    from ..evaluation.ledger import openings
    from ..summary import summarize
    from ..workers.leases import Leases

    leases = Leases(storage, study)
    reclaimed = leases.reclaim_confirmed()
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
    """From the mean time of the finished trials and the workers there are now."""
    finished = summary["complete"] + summary["pruned"]
    if not summary["n_trials"] or not finished or not n_workers:
        return None
    left = max(0, summary["n_trials"] - finished)
    seconds: float = left * summary["seconds"] / finished / n_workers
    return round(seconds, 1)


def _show_status(found: dict[str, Any]) -> None:
    output.line(
        f"study {found['study']} in {found['storage']} ({found['dataset']}, {found['provenance']})"
    )
    done = found["complete"] + found["pruned"]
    asked = "" if found["n_trials"] is None else f" of {found['n_trials']}"
    output.line(
        f"{done}{asked} trials finished: {found['complete']} complete, {found['pruned']} pruned; "
        f"{found['running']} running, {found['waiting']} waiting, {found['failed']} failed"
    )
    if found["reclaimed"]:
        output.line(f"{found['reclaimed']} trials of dead workers were put back")
    if found["held_by_another_program"]:
        numbers = ", ".join(map(str, found["held_by_another_program"]))
        output.line(
            f"held by another program: trial {numbers}; `bloodsearch stop --reclaim` puts back"
        )
    if found["best_value"] is not None:
        output.line(
            f"best validation macro-F1 {found['best_value']:.4f} (trial {found['best_trial']}): "
            f"{output.short_params(found['best_params'])}"
        )
    if found["seconds_left"]:
        output.line(f"about {output.duration(found['seconds_left'])} left")
    if found["test_openings"]:
        output.line(f"test split opened: {found['test_openings']}")
    if found["workers"]:
        output.table(
            ["host", "pid#", "device", "trial#", "last beat#"],
            [
                (w["host"], w["pid"], w["device"], w["trial"], f"{w['beat_age_seconds']:.0f} s ago")
                for w in found["workers"]
            ],
        )
