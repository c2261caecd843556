"""What a final evaluation leaves in the ledger and in result files, as types.

    Race             the second stage
    FinalResult      a final evaluation (result.json)
    BaselinesResult  an evaluation of all baselines (baselines.json)

All of them read what earlier versions wrote.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError


class Stored(BaseModel):
    """What a database or a file holds. Fields of other versions and programs are ignored."""

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


class Spread(Stored):
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


class ClassScore(Stored):
    """Scores of one class, over all replicates together."""

    name: str
    precision: float
    recall: float
    f1: float
    n: int | None = None
    """Images of this class in the split."""
    f1_interval_95: tuple[float, float] | None = None
    """Covers other test images only; earlier versions have none."""


class RaceFinalist(Stored):
    """A finalist after the second stage; `values` are of fresh seeds."""

    trial: int
    search_value: float
    mean: float
    values: list[float]
    n_diverged: int = 0
    n_parameters: int | None = None
    latency_ms: float | None = None


class RungValue(Stored):
    """What one configuration reached on a rung."""

    trial: int
    value: float


class RungResult(Stored):
    """A rung of a ladder between the search and the final trainings, best value first."""

    study: str
    values: list[RungValue]


class Race(Stored):
    """The second stage: finalists by their mean, and the winner's number."""

    winner: int
    prefer: str = "best"
    sd_over_seeds: float | None = None
    """What decisions assumed. Earlier versions stored their least value as if it had been measured."""
    optimism: float | None = None
    undecided: list[int] = Field(default_factory=list)
    """Trials that are not clearly worse than the winner."""
    finalists: list[RaceFinalist] = Field(default_factory=list)
    rungs: list[RungResult] = Field(default_factory=list)
    """The rungs that finalists climbed; empty where they repeat the search's own length."""

    @property
    def is_ladder(self) -> bool:
        """Whether the finalists were trained at the final length, not at that of the search."""
        return bool(self.rungs) or self.optimism is None

    @property
    def n_chose(self) -> int:
        """Return how many of the winner's final trainings chose it among others; 0 where none did."""
        if not self.is_ladder or len(self.finalists) < 2:
            return 0
        return sum(len(f.values) for f in self.finalists if f.trial == self.winner)

    @property
    def measured_sd(self) -> float | None:
        """Standard deviation over seeds, pooled over finalists; None if each has a single value."""
        groups = [f.values for f in self.finalists if len(f.values) > 1]
        freedom = sum(len(values) - 1 for values in groups)
        squares = sum(statistics.variance(values) * (len(values) - 1) for values in groups)
        return math.sqrt(squares / freedom) if freedom else None

    @property
    def winner_optimism(self) -> float | None:
        """How much the winner's mean is too high because it was picked: empirical Bayes over the finalists.

        It is the part that seeds make. What the validation images favour is not part of it: all seeds share
        that. Seeds that diverged, which a mean counts as zero, are left out. None unless three finalists
        have a value and the spread over seeds was measured.
        """
        sd = self.measured_sd
        means = {f.trial: statistics.fmean(f.values) for f in self.finalists if f.values}
        n = {f.trial: len(f.values) for f in self.finalists}
        if sd is None or len(means) < 3 or not n.get(self.winner):
            return None
        noise = statistics.fmean(sd**2 / max(1, n[trial]) for trial in means)
        between = max(0.0, statistics.variance(means.values()) - noise)
        of_winner = sd**2 / n[self.winner]
        share = of_winner / (between + of_winner) if of_winner else 0.0
        return share * (means[self.winner] - statistics.fmean(means.values()))


class DeclaredOption(Stored):
    """A figure that is reported beside the plain one: averaged predictions, refits."""

    option: str
    test_macro_f1: Spread
    test_accuracy: Spread


class Calibrated(Stored):
    """How far probabilities on test are from shares of right predictions."""

    error: Spread
    """The expected calibration error."""
    error_if_perfect: float
    """What a perfectly calibrated model has by chance, with as many images."""
    log_loss: Spread
    bins: list[tuple[float, float, float]]
    """Images, sum of the predicted classes' probabilities, right predictions; summed over replicates."""


class Calibration(Stored):
    """Calibration on test, before and after temperature scaling that was fitted on validation."""

    temperatures: list[float]
    before: Calibrated
    after: Calibrated


class FinalResult(Stored):
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
    test_quadratic_kappa: Spread | None = None
    """Of ordered classes: agreement in which an error of two steps costs four times that of one."""
    per_class: list[ClassScore]
    confusion_matrix: list[list[int]]
    """Counts (classes, classes) summed over replicates: rows are true classes."""
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
    calibration: Calibration | None = None
    """None in a result of an earlier version."""
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


class BaselineScore(Stored):
    """One named configuration in an evaluation of all baselines."""

    name: str
    n_parameters: int | None = None
    params: dict[str, Any] | None = None
    seeds: list[int]
    diverged_seeds: list[int] = Field(default_factory=list)
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


class BaselinesResult(Stored):
    """What one opening for all baselines found: baselines.json, and the ledger's row."""

    study: str
    dataset: str
    data_hash: str
    configurations: list[BaselineScore]
    all_diverged: list[str] = Field(default_factory=list)
    """Names of the baselines without a single model."""
    evaluation: str | None = None
    test_openings: int
    test_openings_in_storage: int | None = None
    test_openings_beside_data: int | None = None
    ledger_row: int | None = None
    out: str = ""


def final_result(data: Mapping[str, Any] | None) -> FinalResult | None:
    """Return the final evaluation in a ledger row's result, None if it holds something else."""
    return FinalResult.read(data) if data is not None and "confusion_matrix" in data else None


def final_results(rows: Iterable[Mapping[str, Any] | None]) -> list[FinalResult]:
    """Return the final evaluations among ledger rows' results, in their order."""
    return [result for data in rows if (result := final_result(data)) is not None]


def baselines_result(data: Mapping[str, Any] | None) -> BaselinesResult | None:
    """Return the evaluation of all baselines in a ledger row's result, None if it holds something else."""
    return BaselinesResult.read(data) if data is not None and "configurations" in data else None
