"""Early stopping of one training: patience, counted in epochs since the best one."""

from __future__ import annotations


def out_of_patience(n_epochs: int, best_epoch: int, patience: int, min_epochs: int) -> bool:
    """Return whether the best of `n_epochs` epochs, counted from 1, is at least `patience` epochs old.

    `patience` 0 means no early stopping. No training stops before `min_epochs` epochs.
    """
    if not patience or n_epochs < min_epochs:
        return False
    return n_epochs - best_epoch >= patience
