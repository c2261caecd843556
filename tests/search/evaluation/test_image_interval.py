"""The interval of a validation score over images, from its confusion matrix alone."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score

from bloodsearch.search.evaluation.image_interval import image_interval


def test_it_is_the_bootstrap_over_images() -> None:
    rng = np.random.default_rng(1)
    labels = rng.choice(4, 400, p=[0.4, 0.3, 0.2, 0.1])
    predictions = np.where(rng.random(400) < 0.85, labels, rng.integers(0, 4, 400))
    counts = np.bincount(labels * 4 + predictions, minlength=16).reshape(4, 4)
    drawn = []
    for _ in range(1000):
        index = rng.integers(0, 400, 400)
        drawn.append(f1_score(labels[index], predictions[index], average="macro"))
    expected = np.quantile(drawn, (0.025, 0.975))
    assert image_interval(counts.tolist()) == pytest.approx(expected, abs=0.006)


def test_a_perfect_score_has_no_width_and_an_absent_class_does_not_count() -> None:
    assert image_interval([[5, 0, 0], [0, 7, 0], [0, 0, 0]]) == (1.0, 1.0)
    assert image_interval([[0, 0], [0, 0]]) is None
