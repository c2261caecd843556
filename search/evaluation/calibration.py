"""Calibration: whether predictions with a probability of 0.9 are right nine times out of ten.

Temperature scaling and the expected calibration error are those of Guo et al. 2017, "On Calibration of
Modern Neural Networks". The temperature is fitted on validation. It never changes which class is predicted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .scoring import spread

N_BINS = 15
"""Bins of equal width over the probability of the predicted class, as in the paper."""
N_SIMULATED = 200
LEAST = 1e-300
"""Probabilities are raised to this before their logarithm is taken."""

Labels = NDArray[np.uint8]
Probabilities = NDArray[np.float64]


def calibration(
    val_labels: Labels,
    validation: Sequence[Probabilities],
    test_labels: Labels,
    test: Sequence[Probabilities],
) -> dict[str, Any]:
    """Return how well calibrated replicates are on test, before and after temperature scaling.

    Args:
        val_labels: True classes (n,) of the validation split.
        validation: Each replicate's probabilities (n, classes) there.
        test_labels: True classes (m,) of the test split.
        test: Each replicate's probabilities (m, classes) there.
    """
    temperatures = [fit_temperature(val_labels, p) for p in validation]
    scaled = [rescaled(p, t) for p, t in zip(test, temperatures, strict=True)]
    return {
        "temperatures": temperatures,
        "before": _measured(test_labels, test),
        "after": _measured(test_labels, scaled),
    }


def fit_temperature(labels: Labels, probabilities: Probabilities) -> float:
    """Return the temperature between 0.05 and 20 with the lowest log loss."""
    from scipy.optimize import minimize_scalar

    def log_loss(log_temperature: float) -> float:
        return _log_loss(labels, rescaled(probabilities, math.exp(log_temperature)))

    best = minimize_scalar(log_loss, bounds=(math.log(0.05), math.log(20)), method="bounded")
    return math.exp(best.x)


def rescaled(probabilities: Probabilities, temperature: float) -> Probabilities:
    """Return the probabilities (n, classes) of logits that are divided by `temperature`."""
    logits = np.log(np.maximum(probabilities, LEAST)) / temperature
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def binned(labels: Labels, probabilities: Probabilities) -> NDArray[np.float64]:
    """Return (15, 3): each bin's images, sum of the predicted classes' probabilities, right predictions."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    return _binned(confidence, right)


def expected_error(bins: NDArray[np.float64]) -> float:
    """Return the expected calibration error: the mean gap between probability and share of hits."""
    return float(np.abs(bins[:, 1] - bins[:, 2]).sum() / max(bins[:, 0].sum(), 1))


def _binned(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    # a bin holds its upper end, as in the paper
    place = np.clip(np.ceil(confidence * N_BINS).astype(int) - 1, 0, N_BINS - 1)
    weights = (np.ones_like(confidence), confidence, right.astype(float))
    return np.stack([np.bincount(place, w, N_BINS) for w in weights], axis=1)


def _measured(labels: Labels, replicates: Sequence[Probabilities]) -> dict[str, Any]:
    bins = [binned(labels, p) for p in replicates]
    return {
        "error": spread([expected_error(one) for one in bins]),
        "error_if_perfect": float(np.mean([_error_if_perfect(p.max(axis=1)) for p in replicates])),
        "log_loss": spread([_log_loss(labels, p) for p in replicates]),
        "bins": np.sum(bins, axis=0).tolist(),
    }


def _error_if_perfect(confidence: NDArray[np.float64]) -> float:
    """Return the error that a perfectly calibrated model has by chance, with as many images."""
    rng = np.random.default_rng(0)
    drawn = (rng.random(len(confidence)) < confidence for _ in range(N_SIMULATED))
    return float(np.mean([expected_error(_binned(confidence, right)) for right in drawn]))


def _log_loss(labels: Labels, probabilities: Probabilities) -> float:
    """Return the mean negative log-likelihood in nats per image."""
    true = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(true, LEAST)).mean())
