"""What a worker and the code that trains for it say to each other. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import optuna
from optuna.trial import TrialState

from ...studies import StudyFile
from ..pruning.pruner import FamilyPruner
from ..sampling.space import Params

T = TypeVar("T")


class LostLease(Exception):
    """Another worker has this trial now."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended: its final state, its value if complete, and attributes to keep."""

    state: TrialState
    value: float | None
    attrs: dict[str, Any]
    checkpoint: Path | None = None
    """A file that nobody needs once this outcome is stored; until then the trial may need it."""


class Persist(Protocol):
    """Calls something that is safe to repeat, and gives back what it gave."""

    def __call__(self, operation: Callable[[], T], /) -> T: ...


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a worker gives to the training of one trial."""

    should_stop: Callable[[], bool]
    """Asked between batches; true ends the training with Drained."""
    suggest: Callable[[optuna.Trial, StudyFile, Callable[[Params], bool]], Params]
    """Samples and stores all parameters of the trial; draws again while the last argument refuses."""
    report: Callable[[int, float], None]
    """Stores an epoch's value; raises LostLease when the trial is another worker's now."""
    persist: Persist
    """Reads from or writes to the storage, waiting for a storage that went away."""
    warn: Callable[[str], None]


class Trainer(Protocol):
    """Trains a claimed trial; `trial.objective.TorchTrainer`, or a simulated one in a benchmark.

    Raises training.endings.Drained or LostLease to leave the trial as it is.
    """

    def __call__(
        self, trial: optuna.Trial, pruner: FamilyPruner, checkpoints: Path, hooks: Hooks
    ) -> Outcome: ...
