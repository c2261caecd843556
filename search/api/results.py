"""Results of library calls, as frozen records."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """A study after a search."""

    study: str
    storage: str
    """The storage's URL with its password hidden."""
    dataset: str
    n_trials: int | None
    """The budget: complete and pruned trials to reach."""
    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int
    best_value: float | None
    """Validation macro-F1 of the best complete trial."""
    best_trial: int | None
    best_params: dict[str, Any] | None
    seconds: float
    """Training time of all finished trials together."""
    elapsed_seconds: float
    """Time that this call took."""
    in_time: bool
    """False if the search was interrupted, or its time was up, before the budget was spent."""
    created_only: bool = False
    part: str | None = None
    """"baselines" or "grid" for a part of a study that was run separately."""
    parts: tuple[SearchResult, ...] = ()
    """The result of each part, where a study was run part by part."""
    summary: dict[str, Any] = field(repr=False)
    """The JSON object of `bloodsearch status`, with a few more counts."""

    @classmethod
    def of(cls, summary: dict[str, Any], **more: Any) -> SearchResult:
        """Return the result with the counts of a study's `summary`."""
        names = {f.name for f in fields(cls)}
        counts = {key: value for key, value in summary.items() if key in names}
        return cls(**counts, **more, summary=summary)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object of `bloodsearch optimize`."""
        data = {**self.summary, "elapsed_seconds": round(self.elapsed_seconds, 2)}
        return data | ({"parts": [part.as_dict() for part in self.parts]} if self.parts else {})


@dataclass(frozen=True, slots=True)
class ReportResult:
    """A written report."""

    study: str
    out: Path
    files: tuple[Path, ...]
    """The report's main page first."""


@dataclass(frozen=True, slots=True)
class ExportResult:
    """An exported model."""

    study: str
    trial: int
    replicate: int
    format: str
    out: Path
    bytes: int
    largest_difference: float
    """The largest difference of a probability from PyTorch's."""
    n_compared: int
    val_macro_f1: float
    test_check: dict[str, Any] | None = None
    """Whether exported files give the final evaluation's confusion matrix; None if not asked for."""
