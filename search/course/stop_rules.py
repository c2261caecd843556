"""Stop rules, read from one curve.

Under a constant learning rate a shorter training is the beginning of a longer one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """A number of epochs, or a patience: one of the two is 0."""

    epochs: int = 0
    patience: int = 0

    def __str__(self) -> str:
        return f"{self.epochs} epochs" if self.epochs else f"patience {self.patience}"


@dataclass(frozen=True, slots=True)
class Stop:
    """What a rule gets out of a training. Epochs count from 1."""

    value: float
    """Of the model that is kept: the last epoch's, under patience the best one's."""
    kept: int
    """Its epoch."""
    last: int
    """The last epoch that was trained."""
    by_patience: bool = False
    """False where the training ended before patience did."""


RULES = (Rule(epochs=5), Rule(epochs=10), Rule(epochs=15), Rule(patience=5))
"""Those of report A's grid."""


def stop(curve: Sequence[float], rule: Rule) -> Stop | None:
    """The model that `rule` keeps of a training with this validation curve; None if it is too short.

    Equal is not better, as in the training itself.
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
