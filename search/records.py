"""What a database and the result files hold, as types.

    TrialRecord      a trial: its configuration, its results, how it ended
    StudyRecord      what a study stores about itself
    Race             the second stage
    FinalResult      a final evaluation (result.json)
    BaselinesResult  an evaluation of all baselines (baselines.json)

All of them read what earlier versions wrote. Another program (an Optuna client, a notebook) may have made
a trial: then it has none of our attributes, or different ones under the same names, and the fields are None.
"""

from __future__ import annotations

import datetime
import math
import statistics
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

Kind = Literal["search", "finalists", "replicates", "refits"]


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


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=True)

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """Return the record in `data`; fields that cannot be read keep their defaults.

        Raises ValidationError when a field without a default cannot be read.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            bad = {detail["loc"][0] for detail in error.errors() if detail["loc"]}
            return cls.model_validate({k: v for k, v in data.items() if k not in bad})


class TrialRecord(_Stored):
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
    per_class_f1: list[float | None] | None = None
    confusion: list[list[int]] | None = None
    """Validation counts (8, 8) of the best epoch: rows are true classes."""
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


def ending_of(state: str, attrs: Mapping[str, Any]) -> tuple[Ending, str]:
    """Return how a trial in `state`, such as "pruned", ended by its user attributes, and the detail."""
    stored = attrs.get("ending")
    if stored in list(Ending) and not _contradicts(state, Ending(stored)):
        return Ending(stored), str(attrs.get("detail") or "")
    return _from_prose(state, str(attrs.get("stop_reason") or ""))


def trial_seconds(trial: FrozenTrial) -> float:
    """Return the seconds that workers spent on a trial, parts before an interruption included.

    A trial of an earlier version, or of another program, has two times of day instead, of its last part
    only. They may be in reverse order, because clocks are set back.
    """
    stored = [trial.user_attrs.get(key) for key in ("seconds", "train_seconds")]
    known = [float(value) for value in stored if isinstance(value, int | float)]
    if "seconds" in trial.user_attrs and known:
        return known[0]
    of_day = trial.duration.total_seconds() if trial.duration else 0.0
    return max(0.0, of_day, *known)


def trial_record(trial: FrozenTrial) -> TrialRecord:
    """Return what `trial` stores."""
    attrs, state = trial.user_attrs, trial.state.name.lower()
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


class Spread(_Stored):
    """One figure over replicates."""

    mean: float | None
    std: float | None
    """Standard deviation over replicates (n - 1), None for a single one."""
    n: int
    values: list[float | None]
    interval_95: tuple[float, float] | None = None
    """Covers other test images only."""
    interval_95_images_and_seeds: tuple[float, float] | None = None
    """Covers other test images and other seeds."""

    @property
    def shown_values(self) -> str:
        """Return the values with four digits, "-" for an unknown one."""
        return " ".join("-" if value is None else f"{value:.4f}" for value in self.values)

    @property
    def known_std(self) -> float | None:
        """The standard deviation; None for one replicate, for which earlier versions stored 0."""
        return self.std if self.n > 1 else None


def spread_text(spread: Spread) -> str:
    """Return the spread of a test score and the widest interval known, with what the interval covers."""
    if spread.known_std is None:
        text = "one seed, whose spread is unknown"
    else:
        text = f"standard deviation {spread.known_std:.4f} over {spread.n} seeds"
    interval, covered = spread.interval_95_images_and_seeds, "other test images and other seeds"
    if interval is None:
        interval, covered = spread.interval_95, "other test images only"
    if interval is None:
        return text
    return f"{text}; 95 % interval {interval[0]:.4f} .. {interval[1]:.4f} (covers {covered})"


class ClassScore(_Stored):
    """Scores of one class, over all replicates together."""

    name: str
    precision: float
    recall: float
    f1: float
    n: int | None = None
    """Images of this class in the split."""


class RaceFinalist(_Stored):
    """A finalist after the second stage; `values` are of fresh seeds."""

    trial: int
    search_value: float
    mean: float
    values: list[float]
    n_diverged: int = 0
    n_parameters: int | None = None
    latency_ms: float | None = None


class Race(_Stored):
    """The second stage: finalists by their mean, and the winner's number."""

    winner: int
    prefer: str = "best"
    sd_over_seeds: float | None = None
    """What decisions assumed. Earlier versions stored their least value as if it had been measured."""
    optimism: float | None = None
    undecided: list[int] = Field(default_factory=list)
    """Trials that are not clearly worse than the winner."""
    finalists: list[RaceFinalist] = Field(default_factory=list)

    @property
    def measured_sd(self) -> float | None:
        """Standard deviation over seeds, pooled over finalists; None if each has a single value."""
        groups = [f.values for f in self.finalists if len(f.values) > 1]
        freedom = sum(len(values) - 1 for values in groups)
        squares = sum(statistics.variance(values) * (len(values) - 1) for values in groups)
        return math.sqrt(squares / freedom) if freedom else None


class DeclaredOption(_Stored):
    """A figure that is reported beside the plain one: averaged predictions, refits."""

    option: str
    test_macro_f1: Spread
    test_accuracy: Spread


class FinalResult(_Stored):
    """What a final evaluation found: result.json, and the ledger's row."""

    evaluation: str | None = None
    """Identifies this evaluation. The weights kept with it hold the same; earlier versions have none."""
    study: str
    dataset: str
    data_hash: str
    trial: int
    params: dict[str, Any]
    config: dict[str, Any] | None = None
    n_parameters: int | None = None
    replicates: int
    replicates_asked: int | None = None
    seeds: list[int]
    diverged_seeds: list[int] = Field(default_factory=list)
    diverged_refit_seeds: list[int] = Field(default_factory=list)
    """Seeds with which the training on train and validation together diverged."""
    test_macro_f1: Spread
    test_accuracy: Spread
    test_weighted_f1: Spread
    test_auc: Spread | None = None
    per_class: list[ClassScore]
    confusion_matrix: list[list[int]]
    """Counts (8, 8) summed over replicates: rows are true classes."""
    confusion_matrices: list[list[list[int]]] = Field(default_factory=list)
    val_macro_f1: Spread
    search_value: float | None = None
    search_value_minus_replicates: float | None = None
    published_28x28: dict[str, dict[str, float]] = Field(default_factory=dict)
    train_seconds: list[float | None] = Field(default_factory=list)
    versions: dict[str, str] = Field(default_factory=dict)
    device: str | None = None
    training_precision: str | None = None
    storage: str | None = None
    declared_options: list[DeclaredOption] = Field(default_factory=list)
    selection: Race | None = None
    test_openings: int
    """Openings for this study."""
    test_openings_in_storage: int | None = None
    """Openings of these data in the storage; earlier versions counted those of other data, too."""
    test_openings_beside_data: int | None = None
    """Openings of these data in the file beside them."""
    ledger_row: int | None = None
    out: str = ""


class BaselineScore(_Stored):
    """One named configuration in an evaluation of all baselines."""

    name: str
    n_parameters: int | None = None
    params: dict[str, Any] | None = None
    seeds: list[int]
    test_macro_f1: Spread
    test_weighted_f1: Spread
    test_accuracy: Spread
    test_weighted_precision: Spread | None = None
    val_macro_f1: Spread
    epochs: list[int | None] = Field(default_factory=list)
    train_seconds: list[float | None] = Field(default_factory=list)
    per_class: list[ClassScore]
    confusion_matrix: list[list[int]]
    published: dict[str, Any] = Field(default_factory=dict)


class BaselinesResult(_Stored):
    """What one opening for all baselines found: baselines.json, and the ledger's row."""

    study: str
    dataset: str
    data_hash: str
    configurations: list[BaselineScore]
    evaluation: str | None = None
    test_openings: int
    test_openings_in_storage: int | None = None
    test_openings_beside_data: int | None = None
    ledger_row: int | None = None
    out: str = ""


def final_result(data: Mapping[str, Any] | None) -> FinalResult | None:
    """Return the final evaluation in a ledger row's result, None if it holds something else."""
    return FinalResult.read(data) if data is not None and "confusion_matrix" in data else None


def baselines_result(data: Mapping[str, Any] | None) -> BaselinesResult | None:
    """Return the evaluation of all baselines in a ledger row's result, None if it holds something else."""
    return BaselinesResult.read(data) if data is not None and "configurations" in data else None


class StudyRecord(_Stored):
    """What a study stores about itself. A study of another program is not `ready`."""

    ready: bool = False
    kind: Kind = "search"
    space_hash: str | None = None
    """None for a study that bloodsearch did not begin to make."""
    study_file: dict[str, Any] = Field(default_factory=dict)
    data: dict[str, Any] = Field(default_factory=dict)
    """Data set, provenance and content hash (data.bloodmnist.Fingerprint)."""
    dataset: str = ""
    """The data set described for people."""
    versions: dict[str, str] = Field(default_factory=dict)
    n_trials: int | None = None
    """The budget that the last `optimize` asked for."""
    selection: Race | None = None


def study_record(study: optuna.Study) -> StudyRecord:
    """Return what `study` stores about itself."""
    return StudyRecord.read(study.user_attrs)


def finite(value: float | None) -> float | None:
    """Return `value`, or None for NaN and infinity, which JSON does not have."""
    return value if value is not None and math.isfinite(value) else None
