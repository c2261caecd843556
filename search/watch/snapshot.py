"""What a study is doing at one moment, as a value that any screen can show."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..records import Kind


@dataclass(frozen=True, slots=True)
class Best:
    """The best complete trial of a search."""

    trial: int
    value: float
    family: str
    interval: tuple[float, float] | None
    """95 % interval over other validation images; None without a confusion matrix."""
    finished: datetime.datetime | None


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker and the trial that it trains."""

    host: str
    pid: int
    device: str
    beat_age_s: float
    """Seconds since its last heartbeat."""
    trial: int | None
    node: str = ""
    """The first digits of the cluster's id of its node; empty outside of a cluster."""
    of_trial: int | None = None
    """The search's trial that a replicate or finalist repeats."""
    name: str = ""
    """The baseline's name, if it trains one."""
    family: str = ""
    epochs: int | None = None
    """Epochs of the whole training, unless patience or the pruner ends it earlier."""
    curve: tuple[float, ...] = ()
    """Validation macro-F1 of the epochs so far."""
    images_per_s: float | None = None
    """Training images per second, measured between two looks; None before that."""

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        return len(self.curve)


@dataclass(frozen=True, slots=True)
class Happening:
    """Something noteworthy that happened between two looks."""

    at: datetime.datetime
    text: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A study at one moment."""

    study: str
    kind: Kind
    storage: str
    """The storage's address without its password."""
    data: str
    """The data set described for people."""
    n_trials: int | None
    """The budget: complete and pruned trials to reach."""
    complete: int
    pruned: int
    failed: int
    running: int
    waiting: int
    seconds_left: float | None
    """Estimated; None until a trial has finished, or without a worker."""
    best: Best | None
    """None unless the study is a search: of replicates none is chosen."""
    mean: float | None
    """Mean of the complete replicates; None for other trainings."""
    workers: tuple[WorkerRow, ...]
    held_by_another_program: tuple[int, ...]
    happenings: tuple[Happening, ...]
    """The last noteworthy ones, oldest first."""
    silent_s: float | None
    """Seconds for which the database has not answered; None if it did now. All else is then older."""
    at: datetime.datetime

    @property
    def finished(self) -> int:
        """Complete and pruned trials."""
        return self.complete + self.pruned

    @property
    def left(self) -> int | None:
        """Trials to finish until the budget is spent."""
        return None if self.n_trials is None else max(0, self.n_trials - self.finished)

    def __str__(self) -> str:
        """Return one line for a log."""
        budget = "" if self.n_trials is None else f" of {self.n_trials}"
        best = "" if self.best is None else f", best {self.best.value:.4f}"
        return f"{self.study}: {self.finished}{budget} finished, {self.running} running{best}"
