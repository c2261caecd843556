"""The seam between a worker and the code that trains its trials. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

import optuna

from ...studies import StudyFile
from ..pruning.pruner import FamilyPruner
from ..sampling.draw import Accept
from ..sampling.space import Params
from .outcome import Outcome

P = ParamSpec("P")
T = TypeVar("T")


class Session(Protocol):
    """One claimed trial, and the services of the worker that holds it.

    `workers.session.LeasedTrial` implements it.
    """

    @property
    def trial(self) -> optuna.Trial:
        """The claimed trial."""
        ...

    @property
    def pruner(self) -> FamilyPruner:
        """The study's pruner."""
        ...

    @property
    def checkpoints(self) -> Path:
        """The folder for checkpoints."""
        ...

    def suggest(self, file: StudyFile, accept: Accept) -> Params:
        """Sample and store all parameters of the trial. Draws again while `accept` refuses them."""
        ...

    def report(self, epoch: int, value: float) -> None:
        """Store an epoch's value. Raises LostLease when the worker no longer holds the trial."""
        ...

    def keep_reports(self, values: dict[int, float]) -> None:
        """Store `values`, by epoch, in place of all reports. Raises LostLease as `report` does."""
        ...

    def persist(self, operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `operation`, which reads or writes the storage, again while the database is down.

        `operation` must be safe to repeat. Raises StorageError when the outage lasts too long.
        """
        ...

    def should_stop(self) -> bool:
        """Return whether to end the training with Drained. Asked between batches."""
        ...

    def warn(self, message: str) -> None:
        """Show a warning to the user."""
        ...


class Trainer(Protocol):
    """Trains claimed trials: `trial.objective.TorchTrainer`, or a simulated one in a benchmark.

    Raises training.endings.Drained or LostLease to leave the trial as it is.
    """

    def __call__(self, session: Session) -> Outcome: ...
