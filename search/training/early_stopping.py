"""Early stopping of one training: patience, counted in epochs since the best one."""

from __future__ import annotations

from .history import Progress


def out_of_patience(progress: Progress, patience: int, min_epochs: int) -> bool:
    """Return whether the best epoch is at least `patience` epochs old.

    `patience` 0 means no early stopping. No training stops before `min_epochs` epochs.
    """
    n_epochs = len(progress.history)
    if not patience or n_epochs < min_epochs:
        return False
    return n_epochs - progress.best_epoch >= patience
