"""95 % intervals of each class's scores. They cover other test images, not other seeds."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Z = 1.959964
"""The normal distribution's 97.5 % quantile."""
N_BOOTSTRAP = 1000


def wilson(share: float, n: float) -> tuple[float, float]:
    """Return Wilson's interval of a share of `n` images (Wilson 1927). It has a width even at 0 and 1.

    Without images it is the whole range.
    """
    if n <= 0:
        return 0.0, 1.0
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def f1_intervals(
    labels: NDArray[np.uint8], predictions: NDArray[np.int64], n_classes: int
) -> list[tuple[float, float]]:
    """Return a percentile interval of each class's F1 over all replicates together, from resampled images.

    Args:
        labels: True classes (n,).
        predictions: Predicted classes (r, n) of r replicates.
        n_classes: The number of classes.
    """
    rng, n = np.random.default_rng(0), n_classes
    cells = labels.astype(np.int64) * n + predictions
    drawn = np.empty((N_BOOTSTRAP, n))
    for i in range(N_BOOTSTRAP):
        index = rng.integers(0, len(labels), len(labels))
        drawn[i] = _f1(np.bincount(cells[:, index].ravel(), minlength=n * n).reshape(n, n))
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def _f1(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each class's F1 in a confusion matrix (classes, classes); 0 for an empty class."""
    return np.asarray(2 * np.diag(counts) / np.maximum(counts.sum(axis=0) + counts.sum(axis=1), 1))
