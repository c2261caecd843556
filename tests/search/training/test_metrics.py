"""The hot path's scores equal scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sk

from bloodsearch.search.training.metrics import confusion_on_device, quadratic_kappa, scores

CLASSES = st.integers(0, 7)
PAIRS = st.lists(st.tuples(CLASSES, CLASSES), min_size=1, max_size=60)
# labels and predictions from a few classes only, so that some are missing on one or both sides
FEW = st.sets(CLASSES, min_size=1, max_size=3).flatmap(
    lambda classes: st.lists(
        st.tuples(st.sampled_from(sorted(classes)), CLASSES), min_size=1, max_size=20
    )
)
TOLERANCE = 1e-12


def check(labels: NDArray[np.int64], predictions: NDArray[np.int64]) -> None:
    confusion = confusion_on_device(
        torch.from_numpy(labels), torch.from_numpy(predictions), 8
    ).numpy()
    every = np.arange(8)
    np.testing.assert_array_equal(confusion, sk.confusion_matrix(labels, predictions, labels=every))
    found = scores(confusion)
    precision, recall, f1, _ = sk.precision_recall_fscore_support(
        labels, predictions, labels=every, zero_division=0
    )
    np.testing.assert_allclose(found.precision, precision, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(found.recall, recall, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(found.f1, f1, rtol=0, atol=TOLERANCE)
    for average, ours in (("macro", found.macro_f1), ("weighted", found.weighted_f1)):
        theirs = sk.f1_score(labels, predictions, average=average, zero_division=0)
        assert ours == pytest.approx(theirs, rel=0, abs=TOLERANCE)
    assert found.accuracy == pytest.approx(sk.accuracy_score(labels, predictions), abs=TOLERANCE)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(PAIRS | FEW)
def test_scores_equal_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    labels, predictions = np.array(pairs, dtype=np.int64).T
    check(labels.copy(), predictions.copy())


def test_scores_of_a_whole_validation_split() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 8, 1_712)
    check(labels, np.where(rng.random(1_712) < 0.8, labels, rng.integers(0, 8, 1_712)))


def test_rows_are_true_classes_and_columns_predictions() -> None:
    labels, predictions = torch.tensor([2, 2, 5]), torch.tensor([2, 3, 2])
    confusion = confusion_on_device(labels.to(torch.uint8), predictions, 8)
    assert confusion.shape == (8, 8)
    assert confusion.dtype == torch.int64
    assert confusion[2, 2] == confusion[2, 3] == confusion[5, 2] == 1
    assert confusion.sum() == 3


def test_perfect_and_hopeless() -> None:
    perfect, hopeless = scores(np.eye(8, dtype=np.int64)), scores(np.eye(8, dtype=np.int64)[::-1])
    assert (perfect.macro_f1, perfect.weighted_f1, perfect.accuracy) == (1, 1, 1)
    assert (hopeless.macro_f1, hopeless.weighted_f1, hopeless.accuracy) == (0, 0, 0)


@given(PAIRS)
def test_quadratic_kappa_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    labels, predictions = np.array(pairs).T
    counts = np.asarray(sk.confusion_matrix(labels, predictions, labels=range(8)))
    if len(set(labels) | set(predictions)) > 1:
        expected = sk.cohen_kappa_score(labels, predictions, labels=range(8), weights="quadratic")
        assert quadratic_kappa(counts) == pytest.approx(expected, abs=1e-12)


def test_quadratic_kappa_of_one_class_is_no_agreement() -> None:
    assert quadratic_kappa(np.diag([0, 5, 0])) == 0
