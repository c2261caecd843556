"""The interval of a macro-F1 from its confusion matrix alone. Imports neither torch nor scipy."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

N_RESAMPLES = 1000


def macro_f1_interval(confusion: Sequence[Sequence[int]]) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of the macro-F1 over other images, or None without counts.

    `confusion` holds counts, rows are true classes. To resample images with replacement is to draw their
    cells from a multinomial distribution (bootstrap; Efron 1979).
    """
    return _interval(tuple(map(tuple, confusion)))


@functools.lru_cache(maxsize=16)  # the best trial's is asked for again and again, and takes 4 ms
def _interval(confusion: tuple[tuple[int, ...], ...]) -> tuple[float, float] | None:
    counts = np.asarray(confusion, dtype=np.int64)
    n, k = int(counts.sum()), len(counts)
    if n <= 0 or counts.shape != (k, k):
        return None
    drawn = np.random.default_rng(0).multinomial(n, counts.ravel() / n, N_RESAMPLES)
    cells = drawn.reshape(N_RESAMPLES, k, k)
    right = np.einsum("rii->ri", cells)
    of_class = cells.sum(axis=1) + cells.sum(axis=2)
    # F1 = 2 TP / (2 TP + FP + FN); a class drawn neither as truth nor as prediction has none
    f1 = np.divide(2 * right, of_class, out=np.zeros(right.shape), where=of_class > 0)
    low, high = np.quantile(f1.sum(axis=1) / (of_class > 0).sum(axis=1), [0.025, 0.975])
    return float(low), float(high)
