"""Intervals of class scores: Wilson's for shares, resampled images for F1."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from bloodsearch.search.evaluation.class_intervals import f1_intervals, wilson


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (7, 10), (10, 10), (600, 666)])
def test_wilsons_interval_is_scipys(hits: int, n: int) -> None:
    expected = binomtest(hits, n).proportion_ci(method="wilson")
    assert wilson(hits / n, n) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_without_images_nothing_is_known() -> None:
    assert wilson(0.0, 0) == (0.0, 1.0)


def test_f1_intervals_hold_the_f1_and_narrow_with_more_images() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for n in (200, 5000):
        labels = np.tile(np.arange(4, dtype=np.uint8), n // 4)
        wrong = rng.random((3, n)) < 0.2
        predictions = np.where(wrong, (labels + 1) % 4, labels).astype(np.int64)
        for c, (low, high) in enumerate(f1_intervals(labels, predictions, 4)):
            hits = ((predictions == c) & (labels == c)).sum()
            f1 = 2 * hits / ((predictions == c).sum() + 3 * (labels == c).sum())
            assert low < f1 < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 3
