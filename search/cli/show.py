"""`bloodsearch show`: show one trial, its configuration, curve, classes and ending."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...studies import DEFAULT_STUDY
from . import output
from .options import JsonOption, NameOption, StorageOption, StudyArgument, TrialArgument, find_study

if TYPE_CHECKING:
    from ..records import TrialRecord


def show(
    trial: TrialArgument,
    study: StudyArgument = DEFAULT_STUDY,
    storage: StorageOption = None,
    name: NameOption = None,
    json: JsonOption = False,
) -> None:
    """Show one trial: configuration, curve, per-class F1, why it ended."""
    from ..api.study import StoredStudy
    from ..records import attributes, trial_record
    from ..study import info

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
        **attributes(frozen),
        "ending": stored.ending.value,
        "detail": stored.detail,
        "stop_reason": stored.stop_reason or None,
    }
    if json:
        output.as_json(record)
    else:
        _show_trial(optuna_study.study_name, info(optuna_study).dataset.classes, stored)


def _show_trial(study: str, classes: Sequence[str], trial: TrialRecord) -> None:
    value = "" if trial.value is None else f", validation macro-F1 {trial.value:.4f}"
    baseline = f" ({trial.baseline})" if trial.baseline else ""
    output.line(f"trial {trial.number}{baseline} of {study}: {trial.state}{value}")
    output.line(f"ended because: {trial.stop_reason or 'it has not ended'}")
    if trial.curve:
        curve = "  ".join(f"{value:.4f}" for value in trial.curve)
        output.wrapped(f"validation macro-F1 by epoch: {curve}", indent="  ")
    if trial.shown_params:
        rows = [(name, _plain(value)) for name, value in trial.shown_params.items()]
        output.table(["setting", "value"], rows)
    if trial.per_class_f1 is not None and len(trial.per_class_f1) == len(classes):
        scores = zip(classes, trial.per_class_f1, strict=True)
        output.table(["class", "F1, best epoch#"], scores)
    if facts := _facts(trial):
        output.wrapped(", ".join(facts))
    if trial.versions:
        output.wrapped(", ".join(f"{name} {version}" for name, version in trial.versions.items()))
    if trial.traceback is not None:
        output.block(trial.traceback)


def _facts(trial: TrialRecord) -> list[str]:
    """Return what is known of how it was trained."""
    n_weights, seconds = trial.n_parameters, trial.train_seconds
    threads = "" if trial.threads is None else f"{trial.threads} thread{'s' * (trial.threads != 1)}"
    facts = [
        "" if trial.seed is None else f"seed {trial.seed}",
        "" if n_weights is None else f"{n_weights:,} weights",
        "" if seconds is None else f"trained for {output.duration(seconds)}",
        "" if trial.device is None else f"on {trial.device}",
        trial.precision or "",
        threads,
        "" if trial.data_hash is None else f"data {trial.data_hash}",
    ]
    return [fact for fact in facts if fact]


def _plain(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
