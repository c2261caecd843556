"""Metrics from a confusion matrix: the hot path's macro-F1, equal to scikit-learn's (tested to 1e-12)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Confusion = NDArray[np.int64]


def confusion_on_device(
    labels: torch.Tensor, predictions: torch.Tensor, n_classes: int
) -> torch.Tensor:
    """Count images on the tensors' device, int64: rows are true classes, columns predictions."""
    cells = labels.long() * n_classes + predictions.long()
    return torch.bincount(cells, minlength=n_classes**2).reshape(n_classes, n_classes)


@dataclass(frozen=True, slots=True)
class Scores:
    """Per-class arrays have shape (classes,); a class that never occurs or is never predicted scores 0."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    macro_f1: float
    weighted_f1: float
    accuracy: float


def scores(confusion: Confusion) -> Scores:
    """Compute all scores of a confusion matrix with at least one image."""
    counts = np.asarray(confusion, dtype=np.float64)
    hits = np.diag(counts)
    true, predicted = counts.sum(axis=1), counts.sum(axis=0)
    precision = _ratio(hits, predicted)
    recall = _ratio(hits, true)
    f1 = _ratio(2 * hits, true + predicted)
    # a class that is neither present nor predicted does not count, as in scikit-learn
    occurs = (true + predicted) > 0
    return Scores(
        precision=precision,
        recall=recall,
        f1=f1,
        macro_f1=float(f1[occurs].mean()),
        weighted_f1=float((f1 * true).sum() / true.sum()),
        accuracy=float(hits.sum() / counts.sum()),
    )


def quadratic_kappa(confusion: Confusion) -> float:
    """Return Cohen's kappa with quadratic weights (Cohen 1968), 1 for perfect agreement.

    For classes in an order: an error of two steps costs four times as much as an error of one. 0 where all
    labels and all predictions are one class.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    steps = np.arange(len(counts))
    cost = (steps[:, None] - steps[None, :]) ** 2.0
    by_chance = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    expected = (cost * by_chance).sum()
    return float(1 - (cost * counts).sum() / expected) if expected else 0.0


def _ratio(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(a, b, out=np.zeros_like(a), where=b > 0)
