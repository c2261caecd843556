"""The history of a training: each epoch, and the best."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch

from .metrics import Confusion

Keep = Literal["best", "last"]
"""The epoch whose weights a training returns."""


@dataclass(frozen=True, slots=True)
class EpochResult:
    epoch: int
    """1 for the first."""
    train_loss: float
    val_loss: float
    """Plain cross-entropy on the validation split, whatever the training loss."""
    val_macro_f1: float
    val_accuracy: float
    seconds: float


@dataclass(frozen=True, slots=True)
class FitResult:
    history: list[EpochResult]
    best_epoch: int
    best_value: float
    """Highest validation macro-F1 of all epochs."""
    best_confusion: Confusion
    reason: Literal["epochs", "patience"]
    n_parameters: int
    seconds: float
    """Training and validation time over all epochs, those before a resume included."""
    state: dict[str, torch.Tensor] | None
    """Weights after the best or the last epoch, according to `keep`, on the CPU."""


@dataclass(slots=True)
class Progress:
    """The state that a resume needs besides weights, optimizer and generators."""

    history: list[EpochResult] = field(default_factory=list)
    best_epoch: int = 0
    best_value: float = -math.inf
    best_confusion: list[list[int]] = field(default_factory=list)

    def add(self, result: EpochResult, confusion: Confusion) -> bool:
        """Append an epoch. Return True if it is the best so far."""
        self.history.append(result)
        if result.val_macro_f1 <= self.best_value:
            return False
        self.best_epoch, self.best_value = result.epoch, result.val_macro_f1
        self.best_confusion = confusion.tolist()
        return True
