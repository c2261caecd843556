"""`bloodsearch status`, `leaderboard` and `show`: looking at a study, from anywhere, at any time."""

from __future__ import annotations

import csv
import sys
import time
from dataclasses import asdict
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

    from ..storage import Storage


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
        if not watch:
            return
        time.sleep(2)


def _snapshot(storage: Storage, study: optuna.Study) -> dict[str, Any]:
    from ..evaluation.ledger import openings
    from ..leases import Leases
    from ..summary import summarize

    leases = Leases(storage, study)
    reclaimed = leases.reclaim_for_sure()
    summary = summarize(storage, study)
    workers = leases.workers()
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


def leaderboard(
    study: StudyArgument = DEFAULT_STUDY,
    top: Annotated[int, typer.Option("--top", min=1, help="How many.")] = 10,
    csv_: Annotated[bool, typer.Option("--csv", help="Comma-separated values.")] = False,
    storage: StorageOption = None,
    name: NameOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Finished trials, best first."""
    from ..evaluation.selection import leaderboard as standings

    _, found = find_study(study, storage, name)
    rows = standings(found, top)
    if json:
        output.as_json({"study": found.study_name, "trials": [asdict(row) for row in rows]})
    elif csv_:
        _write_csv([asdict(row) for row in rows])
    else:
        output.table(
            [
                "trial#",
                "val macro-F1#",
                "state",
                "family",
                "epochs#",
                "seconds#",
                "weights#",
                "parameters",
            ],
            [
                (
                    row.number,
                    row.value,
                    row.state,
                    row.family,
                    row.epochs,
                    f"{row.seconds:.1f}",
                    row.n_parameters,
                    f"{row.baseline}: " * bool(row.baseline) + output.short_params(row.params),
                )
                for row in rows
            ],
        )


def _write_csv(rows: list[dict[str, Any]]) -> None:
    names = sorted({name for row in rows for name in row["params"]})
    writer = csv.writer(sys.stdout, lineterminator="\n")
    plain = ["number", "value", "state", "family", "baseline", "epochs", "seconds", "n_parameters"]
    # a parameter may be called as a column is: a baseline's own epochs
    writer.writerow([*plain, *(f"param_{name}" if name in plain else name for name in names)])
    for row in rows:
        writer.writerow([*(row[key] for key in plain), *(row["params"].get(n) for n in names)])


def show(
    trial: Annotated[int, typer.Argument(min=0, help="The trial's number.")],
    study: StudyArgument = DEFAULT_STUDY,
    storage: StorageOption = None,
    name: NameOption = None,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """One trial: configuration, curve, per-class F1, why it ended."""
    _, found = find_study(study, storage, name)
    trials = {t.number: t for t in found.get_trials(deepcopy=False)}
    if trial not in trials:
        raise UsageError(
            f"the study {found.study_name!r} has no trial {trial}; it has {len(trials)}"
        )
    frozen = trials[trial]
    record = {
        "study": found.study_name,
        "number": frozen.number,
        "state": frozen.state.name.lower(),
        "value": frozen.value,
        "curve": [frozen.intermediate_values[step] for step in sorted(frozen.intermediate_values)],
        "started": frozen.datetime_start,
        "finished": frozen.datetime_complete,
        **frozen.user_attrs,
    }
    if json:
        output.as_json(record)
    else:
        _show_trial(record)


def _show_trial(record: dict[str, Any]) -> None:
    from ..training.data import CLASS_NAMES

    value = "" if record["value"] is None else f", validation macro-F1 {record['value']:.4f}"
    baseline = f" ({record['baseline']})" if record.get("baseline") else ""
    output.line(
        f"trial {record['number']}{baseline} of {record['study']}: {record['state']}{value}"
    )
    output.line(f"ended because: {record.get('stop_reason', 'it has not ended')}")
    if record["curve"]:
        curve = "  ".join(f"{value:.4f}" for value in record["curve"])
        output.line(f"validation macro-F1 by epoch: {curve}")
    if "params" in record:
        output.table(["parameter", "value"], [(k, _plain(v)) for k, v in record["params"].items()])
    if "per_class_f1" in record:
        rows = list(zip(CLASS_NAMES, record["per_class_f1"], strict=True))
        output.table(["class", "F1, best epoch#"], rows)
    keys = ("seed", "n_parameters", "train_seconds", "device", "precision", "threads", "data_hash")
    known = [f"{key} {record[key]}" for key in keys if record.get(key) is not None]
    output.line(", ".join(known))
    if "versions" in record:
        output.line(", ".join(f"{k} {v}" for k, v in record["versions"].items()))
    if "traceback" in record:
        output.line(record["traceback"])


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
