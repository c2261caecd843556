"""What a database holds about trials and studies, as types.

    TrialRecord      a trial: its configuration, its results, how it ended
    StudyRecord      what a study stores about itself

Both read what earlier versions wrote. Another program (an Optuna client, a notebook) may have made
a trial: then it has none of our attributes, or different ones under the same names, and the fields are None.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from .results import Race, Stored

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

Kind = Literal["search", "finalists", "rung", "replicates", "refits"]


class Ending(StrEnum):
    """How a trial ended, or that it has not."""

    COMPLETED = "completed"
    """Trained for all its epochs."""
    EARLY_STOPPED = "early_stopped"
    """Complete: patience ended the training."""
    PRUNED = "pruned"
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"
    TOO_COSTLY = "too_costly"
    """Refused before training: the model exceeds a limit of its study."""
    FAILED = "failed"
    POISON = "poison"
    """Failed: several workers died on it."""
    RUNNING = "running"
    WAITING = "waiting"

    @property
    def untrained(self) -> bool:
        """Whether the model could not be trained, so its reports say nothing about other models."""
        return self in (Ending.DIVERGED, Ending.OUT_OF_MEMORY, Ending.TOO_COSTLY)


_PROSE = {
    Ending.COMPLETED: "all epochs trained",
    Ending.EARLY_STOPPED: "patience",
    Ending.RUNNING: "",
    Ending.WAITING: "",
}
_PREFIXES = {
    "pruned": Ending.PRUNED,
    "diverged": Ending.DIVERGED,
    "out of memory": Ending.OUT_OF_MEMORY,
    "too costly": Ending.TOO_COSTLY,
    "poison": Ending.POISON,
}
_OF_STATE = {
    "complete": Ending.COMPLETED,
    "pruned": Ending.PRUNED,
    "fail": Ending.FAILED,
    "running": Ending.RUNNING,
    "waiting": Ending.WAITING,
}


def end_attributes(ending: Ending, detail: str = "") -> dict[str, str]:
    """Return the attributes that store how a trial ended."""
    return {"ending": ending.value, "detail": detail}


def stop_reason(ending: Ending, detail: str) -> str:
    """Return one line for people, worded as in `show --json`: "diverged: loss nan at epoch 2"."""
    if ending in _PROSE:
        return _PROSE[ending]
    if ending is Ending.FAILED:
        return detail
    words = ending.value.replace("_", " ")
    return f"{words}: {detail}" if detail else words


def _from_prose(state: str, reason: str) -> tuple[Ending, str]:
    """Return ending and detail of a trial that an earlier version stored with a `stop_reason`."""
    for ending in (Ending.COMPLETED, Ending.EARLY_STOPPED):
        if reason == _PROSE[ending]:
            return ending, ""
    prefix, separator, detail = reason.partition(": ")
    if separator and prefix in _PREFIXES and state in ("pruned", "fail"):
        return _PREFIXES[prefix], detail
    return _OF_STATE[state], reason


class TrialRecord(Stored):
    """A trial of any state, from Optuna's tables and our attributes. Lists by epoch start with the first."""

    number: int
    state: Literal["complete", "pruned", "fail", "running", "waiting"]
    value: float | None = None
    """Validation macro-F1. Of a pruned trial it is the last report, which ranks nothing."""
    reports: dict[int, float] = Field(default_factory=dict)
    """Validation macro-F1 by epoch, the first epoch being 1."""
    sampled: dict[str, Any] = Field(default_factory=dict)
    """The parameters that Optuna stores: those that were searched."""
    started: datetime.datetime | None = None
    finished: datetime.datetime | None = None

    ending: Ending
    detail: str = ""
    """Why, as text for people; nothing reads it."""
    traceback: str | None = None

    point: dict[str, Any] | None = None
    """All parameters of a queued trial, before it runs."""
    params: dict[str, Any] | None = None
    """All parameters that were trained."""
    config: dict[str, Any] | None = None
    """The training configuration (training.config.TrialConfig)."""
    family: str | None = None
    seed: int | None = None
    baseline: str | None = None
    """The name of the baseline it is, if it is one."""
    replicate: int | None = None
    replicate_of: int | None = None
    """The number of the search's trial that it repeats with another seed."""
    from_study: str | None = None
    from_trial: int | None = None
    """The trial of another study that its point was taken from."""

    epochs: int | None = None
    """Epochs trained."""
    best_epoch: int | None = None
    n_parameters: int | None = None
    latency_ms: float | None = None
    """Milliseconds per image on one core."""
    train_seconds: float | None = None
    seconds: float = 0.0
    """Time that workers spent on the trial, over all its parts (see `trial_seconds`)."""
    val_accuracy: float | None = None
    worst_class: str | None = None
    worst_f1: float | None = None
    per_class_f1: list[float | None] | None = None
    confusion: list[list[int]] | None = None
    """Validation counts (classes, classes) of the best epoch: rows are true classes."""
    train_losses: list[float] | None = None
    val_losses: list[float] | None = None
    audit: str | None = None
    """Why the pruner would have stopped it, had it not been exempt."""
    weights: str | None = None
    """The file that holds its trained weights."""

    data_hash: str | None = None
    versions: dict[str, str] | None = None
    device: str | None = None
    precision: Literal["bfloat16", "float32"] | None = None
    val_precision: Literal["bfloat16", "float32"] | None = None
    """Of the validation, where it is not the training's."""
    threads: int | None = None

    @property
    def stop_reason(self) -> str:
        """How it ended, as one line for people; empty for one that has not ended."""
        return stop_reason(self.ending, self.detail)

    @property
    def curve(self) -> list[float]:
        """Validation macro-F1 of the epochs reported, in their order."""
        return [self.reports[epoch] for epoch in sorted(self.reports)]

    @property
    def shown_params(self) -> dict[str, Any]:
        """Return all parameters, or those that Optuna stores for a trial of another program."""
        return dict(self.params if self.params is not None else self.sampled)

    @property
    def trained(self) -> bool:
        """Whether bloodsearch trained it, so it can be trained again."""
        return self.params is not None and self.config is not None


HIDDEN = "bloodsearch:record"
"""The system attribute that holds a trial's long attributes. Optuna's pages and tables do not show it:
as user attributes, which earlier versions made of them, they were columns of raw JSON."""
_LONG = {
    "params", "config", "data_hash", "versions", "device", "threads", "precision", "val_precision",
    "latency_ms", "train_seconds", "val_accuracy", "per_class_f1", "confusion", "train_losses",
    "val_losses", "traceback",
}  # fmt: skip


def split_attributes(attrs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the user attributes and the system attributes that store `attrs`."""
    columns = {key: value for key, value in attrs.items() if key not in _LONG}
    hidden = {key: value for key, value in attrs.items() if key in _LONG}
    return columns, {HIDDEN: hidden} if hidden else {}


def attributes(trial: FrozenTrial) -> dict[str, Any]:
    """Return all that a trial stores as attributes. Earlier versions stored all as user attributes."""
    hidden = trial.system_attrs.get(HIDDEN)
    return {**(hidden if isinstance(hidden, Mapping) else {}), **trial.user_attrs}


def ending_of(state: str, attrs: Mapping[str, Any]) -> tuple[Ending, str]:
    """Return how a trial in `state`, such as "pruned", ended by its user attributes, and the detail."""
    stored = attrs.get("ending")
    if stored in list(Ending) and not _contradicts(state, Ending(stored)):
        return Ending(stored), str(attrs.get("detail") or "")
    return _from_prose(state, str(attrs.get("stop_reason") or ""))


def is_lost(trial: FrozenTrial) -> bool:
    """Return whether a final training ended without a result, so that another attempt may have one.

    A diverged training is a result: it would diverge again. Memory is a matter of what else was running.
    """
    state = trial.state.name
    ending, _ = ending_of(state.lower(), attributes(trial))
    return state == "FAIL" or (state == "PRUNED" and ending is Ending.OUT_OF_MEMORY)


def has_diverged(trial: FrozenTrial) -> bool:
    """Return whether a final training ended without a value and would again: no pruner stops these."""
    return trial.state.name == "PRUNED" and not is_lost(trial)


def best_trial(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """Return the complete trial with the highest value, the first of equal ones; None without any."""
    complete = (trial for trial in trials if trial.state.name == "COMPLETE")
    return max(complete, key=lambda trial: (trial.value or 0.0, -trial.number), default=None)


def trial_seconds(trial: FrozenTrial) -> float:
    """Return the seconds that workers spent on a trial, parts before an interruption included.

    A trial of an earlier version, or of another program, has two times of day instead, of its last part
    only. They may be in reverse order, because clocks are set back.
    """
    attrs = attributes(trial)
    stored = [attrs.get(key) for key in ("seconds", "train_seconds")]
    numbers = [float(value) for value in stored if isinstance(value, int | float)]
    if "seconds" in attrs and numbers:
        return numbers[0]
    of_day = trial.duration.total_seconds() if trial.duration else 0.0
    return max(0.0, of_day, *numbers)


def trial_record(trial: FrozenTrial) -> TrialRecord:
    """Return what `trial` stores."""
    attrs, state = attributes(trial), trial.state.name.lower()
    ending, detail = ending_of(state, attrs)
    return TrialRecord.read(
        {
            **attrs,
            "number": trial.number,
            "state": state,
            "value": trial.values[0] if trial.values else None,
            "reports": trial.intermediate_values,
            "sampled": trial.params,
            "started": trial.datetime_start,
            "finished": trial.datetime_complete,
            "ending": ending,
            "detail": detail,
            "seconds": trial_seconds(trial),
        }
    )


def _contradicts(state: str, ending: Ending) -> bool:
    """Return whether another program has ended the trial otherwise than its attributes say."""
    complete = ending in (Ending.COMPLETED, Ending.EARLY_STOPPED)
    return (state == "complete") != complete or state in ("running", "waiting")


class StudyRecord(Stored):
    """What a study stores about itself. A study of another program is not `ready`."""

    ready: bool = False
    kind: Kind = "search"
    space_hash: str | None = None
    """None for a study that bloodsearch did not begin to make."""
    study_file: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict)
    """Data set, provenance and content hash (data.info.Fingerprint)."""
    dataset: str = ""
    """The data set described for people."""
    versions: dict[str, str] = Field(default_factory=dict)
    n_trials: int | None = None
    """The budget that the last `optimize` asked for."""
    selection: Race | None = None
    fitted_from: str | None = None
    """StudyFile.fitted_hash of the settings that `optimize --minutes` fitted; None for any other study."""


def study_record(study: optuna.Study) -> StudyRecord:
    """Return what `study` stores about itself."""
    return StudyRecord.read(study.user_attrs)
