"""The interval of a macro-F1 from counts, against resampling the images themselves."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from bloodsearch.search.evaluation import resampling
from bloodsearch.search.evaluation.resampling import macro_f1_interval
from bloodsearch.search.training.metrics import scores


def test_it_agrees_with_resampled_images() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 200)
    guess = np.where(rng.random(200) < 0.85, truth, rng.integers(0, 3, 200))
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (truth, guess), 1)
    drawn = []
    for _ in range(400):
        index = rng.integers(0, 200, 200)
        drawn.append(f1_score(truth[index], guess[index], average="macro"))
    interval = macro_f1_interval(confusion.tolist())
    assert interval == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.015)
    resampling._interval.cache_clear()
    assert interval == macro_f1_interval(confusion.tolist()), "the same picture at each look"


@pytest.mark.parametrize("confusion", [[[0, 0], [0, 0]], [[1, 2]]])
def test_nothing_to_resample(confusion: list[list[int]]) -> None:
    assert macro_f1_interval(confusion) is None


def test_a_class_without_images_does_not_count() -> None:
    """As in the macro-F1 that the interval is of."""
    assert macro_f1_interval([[5, 0], [0, 0]]) == (1, 1)
    two = [[50, 9], [7, 40]]
    three = [[50, 0, 9], [0, 0, 0], [7, 0, 40]]
    low, high = macro_f1_interval(two) or (0, 0)
    assert low < scores(np.array(three)).macro_f1 < high
    assert macro_f1_interval(three) == pytest.approx((low, high), abs=0.01)
