"""`bloodsearch show`: show one trial, its configuration, curve, classes and ending."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ...studies import DEFAULT_STUDY
from . import output
from .options import JsonOption, NameOption, StorageOption, StudyArgument, find_study


def show(
    trial: Annotated[int, typer.Argument(min=0, help="The trial's number.")],
    study: StudyArgument = DEFAULT_STUDY,
    storage: StorageOption = None,
    name: NameOption = None,
    json: JsonOption = False,
) -> None:
    """Show one trial: configuration, curve, per-class F1, why it ended."""
    from ..api.study import StoredStudy
    from ..records import trial_record

    opened, optuna_study = find_study(study, storage, name)
    frozen = StoredStudy(opened, optuna_study).trial(trial)
    stored = trial_record(frozen)
    record = {
        "study": optuna_study.study_name,
        "number": frozen.number,
        "state": frozen.state.name.lower(),
        "value": frozen.value,
        "curve": [frozen.intermediate_values[step] for step in sorted(frozen.intermediate_values)],
        "started": frozen.datetime_start,
        "finished": frozen.datetime_complete,
        **frozen.user_attrs,
        "ending": stored.ending.value,
        "detail": stored.detail,
        "stop_reason": stored.stop_reason or None,
    }
    if json:
        output.as_json(record)
    else:
        _show_trial(record)


def _show_trial(record: dict[str, Any]) -> None:
    from ..data.bloodmnist import CLASS_NAMES

    value = "" if record["value"] is None else f", validation macro-F1 {record['value']:.4f}"
    baseline = f" ({record['baseline']})" if record.get("baseline") else ""
    output.line(
        f"trial {record['number']}{baseline} of {record['study']}: {record['state']}{value}"
    )
    output.line(f"ended because: {record['stop_reason'] or 'it has not ended'}")
    if record["curve"]:
        curve = "  ".join(f"{value:.4f}" for value in record["curve"])
        output.line(f"validation macro-F1 by epoch: {curve}")
    if "params" in record:
        output.table(["parameter", "value"], [(k, _plain(v)) for k, v in record["params"].items()])
    if "per_class_f1" in record:
        rows = list(zip(CLASS_NAMES, record["per_class_f1"], strict=True))
        output.table(["class", "F1, best epoch#"], rows)
    keys = ("seed", "n_parameters", "train_seconds", "device", "precision", "threads", "data_hash")
    facts = [f"{key} {record[key]}" for key in keys if record.get(key) is not None]
    output.line(", ".join(facts))
    if "versions" in record:
        output.line(", ".join(f"{k} {v}" for k, v in record["versions"].items()))
    if "traceback" in record:
        output.block(str(record["traceback"]))


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
