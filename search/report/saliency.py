"""Find where a model looks: cover a spot of an image and measure how much less sure the model becomes.

This is the occlusion map of Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks". It
needs nothing but predictions, so it works for every family.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Predict = Callable[[Images], NDArray[np.float64]]

PATCH = 4
"""A patch is an image's width divided by this."""
STEPS = 14
"""Positions of the patch along a side, about."""
LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class Occlusion:
    """How much a covered spot lowers the log-odds of an image's predicted class."""

    drop: NDArray[np.float64]
    """Of each pixel (s, s): the mean over the patches that cover it, in nats."""
    probability: float
    """Of the predicted class, with nothing covered."""
    lowest: float
    """With the worst patch."""


def occlusion(predict: Predict, image: Images, fill: NDArray[np.uint8]) -> Occlusion:
    """Cover an image (s, s, channels) with patches of the colour `fill` (channels,), one at a time."""
    side = image.shape[0]
    patch, step = max(2, side // PATCH), max(1, side // STEPS)
    last = side - patch
    starts = sorted({*range(0, last + 1, step), last})
    corners = [(y, x) for y in starts for x in starts]
    covered = np.repeat(image[None], len(corners), axis=0)
    for one, (y, x) in zip(covered, corners, strict=True):
        one[y : y + patch, x : x + patch] = fill
    whole = predict(image[None])[0]
    guess = int(whole.argmax())
    probabilities = predict(covered)[:, guess]
    total, n = np.zeros((side, side)), np.zeros((side, side))
    drops = _log_odds(whole[guess]) - _log_odds(probabilities)
    for drop, (y, x) in zip(drops, corners, strict=True):
        total[y : y + patch, x : x + patch] += drop
        n[y : y + patch, x : x + patch] += 1
    return Occlusion(total / n, float(whole[guess]), float(probabilities.min()))


def _log_odds(probability: NDArray[np.float64] | float) -> NDArray[np.float64]:
    kept = np.clip(probability, LEAST, 1 - LEAST)
    return np.asarray(np.log(kept) - np.log1p(-kept))
