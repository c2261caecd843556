"""The finished trials from which a pruner learns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import TrialState

from ..records import trial_record

_STATES = (TrialState.COMPLETE, TrialState.PRUNED)

Losses = tuple[float, float]
"""Training and validation loss of an epoch."""


def losses_at(
    epoch: int, train_losses: list[float] | None, val_losses: list[float] | None
) -> Losses | None:
    """Return the losses of an epoch, or None if they are not recorded."""
    if (
        not train_losses
        or not val_losses
        or not 0 < epoch <= min(len(train_losses), len(val_losses))
    ):
        return None
    return train_losses[epoch - 1], val_losses[epoch - 1]


@dataclass(frozen=True, slots=True)
class Peer:
    """A finished trial."""

    family: str
    complete: bool
    values: dict[int, float]
    """Reports by epoch."""
    train_losses: list[float] | None = None
    val_losses: list[float] | None = None

    def best_so_far(self, length: int) -> NDArray[np.float64]:
        """Return the best value up to each epoch, shape (length,), NaN before the first report."""
        values = np.full(length, np.nan)
        for epoch, value in self.values.items():
            if 1 <= epoch <= length:
                values[epoch - 1] = value
        best: NDArray[np.float64] = np.fmax.accumulate(values)
        return best

    def losses_at(self, epoch: int) -> Losses | None:
        """Return the losses of `epoch`, or of the last epoch past the trial's end; None if unknown."""
        return losses_at(min(epoch, max(self.values)), self.train_losses, self.val_losses)


class StudyPeers:
    """The peers of a study, each returned once. Models that could not be trained are not peers."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def new(self, study: optuna.Study) -> list[Peer]:
        """Return the trials that finished since the last call."""
        trials = study.get_trials(deepcopy=False, states=_STATES)
        new = [trial for trial in trials if trial.number not in self._seen]
        self._seen.update(trial.number for trial in new)
        return [
            Peer(
                str(record.family),
                record.state == "complete",
                record.reports,
                record.train_losses,
                record.val_losses,
            )
            for record in map(trial_record, new)
            if not record.ending.untrained
        ]
