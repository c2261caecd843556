"""Calibration: errors and temperatures of models whose probabilities are known to be right or wrong."""

from __future__ import annotations

import json

import numpy as np
import pytest

from bloodsearch.search.evaluation.calibration import (
    N_BINS,
    binned,
    calibration,
    expected_error,
    fit_temperature,
    rescaled,
)

N, CLASSES = 20_000, 4


def honest(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, classes), and labels drawn from them."""
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet([0.3] * CLASSES, N)
    labels = (probabilities.cumsum(axis=1) < rng.random((N, 1))).sum(axis=1)
    return np.minimum(labels, CLASSES - 1).astype(np.uint8), probabilities


def test_honest_probabilities_have_no_more_error_than_chance_gives() -> None:
    (val_labels, val), (labels, test) = honest(1), honest(2)
    found = calibration(val_labels, [val], labels, [test])
    assert found["before"]["error"]["mean"] < 2 * found["before"]["error_if_perfect"] < 0.02
    assert found["temperatures"][0] == pytest.approx(1, abs=0.03)


def test_a_temperature_undoes_overconfidence() -> None:
    (val_labels, val), (labels, test) = honest(3), honest(4)
    boasting = [rescaled(p, 1 / 3) for p in (val, test)]
    found = calibration(val_labels, boasting[:1], labels, boasting[1:])
    assert found["temperatures"][0] == pytest.approx(3, rel=0.05)
    before, after = found["before"], found["after"]
    assert after["error"]["mean"] < before["error"]["mean"] / 5
    assert after["log_loss"]["mean"] < before["log_loss"]["mean"]
    json.dumps(found, allow_nan=False)


def test_scaling_never_changes_the_predicted_class() -> None:
    _, probabilities = honest(5)
    scaled = rescaled(probabilities, 7.0)
    assert (scaled.argmax(axis=1) == probabilities.argmax(axis=1)).all()
    assert scaled.sum(axis=1) == pytest.approx(1)


def test_bins_hold_all_images_and_their_error_is_the_papers() -> None:
    labels = np.array([0, 1, 0, 1], np.uint8)
    probabilities = np.array([[1.0, 0.0], [0.6, 0.4], [0.6, 0.4], [0.0, 1.0]])
    bins = binned(labels, probabilities)
    assert bins.shape == (N_BINS, 3)
    assert bins[-1].tolist() == [2, 2, 2]
    assert bins[8].tolist() == [2, 1.2, 1]  # 0.6 is the upper end of bin 9 of 15
    assert expected_error(bins) == pytest.approx(0.2 / 4)


def test_certain_and_wrong_is_no_infinite_loss() -> None:
    labels = np.array([1, 1, 0], np.uint8)
    certain = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    temperature = fit_temperature(labels, certain)
    assert 0.05 <= temperature <= 20.01
    json.dumps(calibration(labels, [certain], labels, [certain]), allow_nan=False)
