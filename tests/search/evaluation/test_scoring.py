"""Scores of replicates: spreads that are known or not, AUC over the classes present, intervals."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from bloodsearch.search.evaluation.scoring import (
    _images_and_seeds,
    class_scores,
    confusion_of,
    macro_auc,
    spread,
    with_interval,
)

CLASSES = tuple("abcdefgh")
LABELS = np.tile(np.arange(8, dtype=np.uint8), 40)


def probabilities(labels: np.ndarray, seed: int = 0) -> np.ndarray:
    """Guesses (n, 8) that favour the true class."""
    logits = np.random.default_rng(seed).normal(size=(len(labels), 8))
    logits[np.arange(len(labels)), labels] += 1.5
    weights = np.exp(logits)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def test_one_value_has_no_spread() -> None:
    assert spread([0.5]) == {"mean": 0.5, "std": None, "n": 1, "values": [0.5]}
    assert spread([0.5, 0.7])["std"] == pytest.approx(0.1414, abs=1e-4)


def test_auc_is_scikit_learns_where_all_classes_are_present() -> None:
    guesses = probabilities(LABELS)
    expected = roc_auc_score(LABELS, guesses, multi_class="ovr", average="macro")
    assert macro_auc(LABELS, guesses) == pytest.approx(expected, abs=1e-12)


def test_auc_over_the_classes_present() -> None:
    present = LABELS[LABELS != 3]
    guesses = probabilities(present)
    each = [roc_auc_score(present == c, guesses[:, c]) for c in range(8) if c != 3]
    assert macro_auc(present, guesses) == pytest.approx(np.mean(each), abs=1e-12)
    assert macro_auc(present[:0], guesses[:0]) is None
    assert macro_auc(np.zeros(9, np.uint8), guesses[:9]) is None


def test_a_spread_without_values_is_json() -> None:
    found = spread([None, None])
    assert (found["mean"], found["std"]) == (None, None)
    json.dumps(found, allow_nan=False)
    assert spread([None, 0.5])["mean"] == 0.5


def test_scores_of_each_class() -> None:
    counts = np.diag(np.arange(1, 9))
    counts[0, 1] = 1
    rows = class_scores(counts, CLASSES, n_replicates=1)
    assert rows[0] == {"name": "a", "precision": 1.0, "recall": 0.5, "f1": 2 / 3, "n": 2}
    assert [row["n"] for row in class_scores(counts * 3, CLASSES, n_replicates=3)] == [
        2,
        *range(2, 9),
    ]


def test_the_interval_over_images_and_seeds_is_wider_than_either() -> None:
    predictions = np.stack([probabilities(LABELS, seed).argmax(axis=1) for seed in range(4)])
    values = [float((row == LABELS).mean()) for row in predictions]
    found = with_interval(spread(values), LABELS, predictions)
    low, high = found["interval_95_images_and_seeds"]
    image_low, image_high = found["interval_95"]
    seeds = 3.182 * found["std"] / 2  # Student's t, 3 degrees of freedom
    assert high - low > max(image_high - image_low, 2 * seeds)
    assert (low + high) / 2 == pytest.approx(found["mean"])


def test_one_replicate_has_an_interval_over_images_alone() -> None:
    predictions = probabilities(LABELS).argmax(axis=1)[None]
    found = with_interval(spread([0.5]), LABELS, predictions)
    assert found["interval_95_images_and_seeds"] is None
    assert found["interval_95"][0] < found["interval_95"][1]


def test_confusion_counts() -> None:
    assert (
        confusion_of(np.array([1, 1], np.uint8), np.array([1, 2]), 8)[1].tolist()
        == [0, 1, 1] + [0] * 5
    )


@pytest.mark.parametrize(("seed_sd", "n"), [(0.004, 3), (0.004, 5), (0.001, 2)])
def test_the_interval_over_images_and_seeds_covers_both(seed_sd: float, n: int) -> None:
    """2,000 evaluations with other images and seeds; benchmarks/intervals.py does this with scores."""
    rng, truth, image_error = np.random.default_rng(0), 0.97, 0.003
    held = 0
    for _ in range(2000):
        values = truth + rng.normal(0, image_error) + rng.normal(0, seed_sd, n)
        low, high = _images_and_seeds(values.mean(), values.std(ddof=1), n, image_error)
        held += low <= truth <= high
    assert 0.935 <= held / 2000 <= 0.975
