"""Read stop rules from one curve.

Under a constant learning rate a shorter training is the beginning of a longer one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """A number of epochs, or a patience. The other one is 0."""

    epochs: int = 0
    patience: int = 0

    def __str__(self) -> str:
        return f"{self.epochs} epochs" if self.epochs else f"patience {self.patience}"


@dataclass(frozen=True, slots=True)
class Stop:
    """The model that a rule keeps of a training. Epochs count from 1."""

    value: float
    """The score of the kept epoch: the last one, or under patience the best one."""
    kept: int
    """The epoch whose model is kept."""
    last: int
    """The last epoch that was trained."""
    by_patience: bool = False
    """False where the training ended before patience did."""


RULES = (Rule(epochs=5), Rule(epochs=10), Rule(epochs=15), Rule(patience=5))
"""The stop rules of report A's grid."""


def stop(curve: Sequence[float], rule: Rule) -> Stop | None:
    """Return the model that `rule` keeps of a training with this validation curve, None if it is too short.

    An equal value is no improvement, as in the training itself.
    """
    if rule.epochs:
        if len(curve) < rule.epochs:
            return None
        return Stop(curve[rule.epochs - 1], rule.epochs, rule.epochs)
    if not curve:
        return None
    best = 0
    for epoch, value in enumerate(curve):
        if value > curve[best]:
            best = epoch
        if epoch - best >= rule.patience:
            return Stop(curve[best], best + 1, epoch + 1, by_patience=True)
    return Stop(curve[best], best + 1, len(curve))
