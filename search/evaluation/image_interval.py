"""How sure a validation score is, as far as the images decide it. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

N_RESAMPLES = 1000


def image_interval(confusion: Sequence[Sequence[int]]) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of macro-F1 over other images; None without images.

    It resamples the images, of which a confusion matrix (classes, classes) keeps all that macro-F1 reads.
    It covers no other seeds. The best of many trials is also too high by the choice, which it does not cover.
    """
    counts = np.asarray(confusion, dtype=np.int64)
    n_images, n_classes = int(counts.sum()), len(counts)
    if n_images == 0:
        return None
    rows, columns = np.nonzero(
        counts
    )  # a few dozen of the cells: multinomial draws cost 1 ms, not 4
    rng = np.random.default_rng(0)
    drawn = rng.multinomial(n_images, counts[rows, columns] / n_images, size=N_RESAMPLES)
    resampled = np.zeros((N_RESAMPLES, n_classes, n_classes))
    resampled[:, rows, columns] = drawn
    low, high = np.quantile(_macro_f1(resampled), (0.025, 0.975))
    return float(low), float(high)


def _macro_f1(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return macro-F1 of matrices (n, classes, classes); classes that do not occur do not count."""
    hits = np.diagonal(counts, axis1=1, axis2=2)
    marginals = counts.sum(axis=1) + counts.sum(axis=2)
    f1 = 2 * hits / np.maximum(marginals, 1)
    return np.asarray(f1.sum(axis=1) / (marginals > 0).sum(axis=1))
