"""Averaged predictions, with models that are arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bloodsearch.search.evaluation.averaging import Averaging, averaged, over_orientations

Images = NDArray[np.uint8]


def corner(images: Images) -> NDArray[np.float64]:
    """Class 1 with the brightness of the upper left pixel, else class 0."""
    bright = images[:, 0, 0, 0] / 255
    return np.stack([1 - bright, bright, *[np.zeros(len(images))] * 6], axis=1)


def images_with(*positions: tuple[int, int]) -> Images:
    images = np.zeros((len(positions), 28, 28, 3), np.uint8)
    for image, (row, column) in zip(images, positions, strict=True):
        image[row, column] = 255
    return images


def test_every_orientation_counts_once() -> None:
    # each of the eight orientations brings one of the four corners up and left, each corner twice
    images = images_with((0, 0), (0, 27), (27, 0), (27, 27), (5, 5))
    found = over_orientations(corner, images)
    np.testing.assert_allclose(found[:, 1], [0.25, 0.25, 0.25, 0.25, 0.0])
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


def test_options_are_scored_apart() -> None:
    images = images_with((0, 0), (5, 5))
    labels = np.array([1, 0], np.uint8)

    def wrong(images: Images) -> NDArray[np.float64]:
        return corner(images)[:, [1, 0, 2, 3, 4, 5, 6, 7]] * 0.5

    assert averaged(Averaging(), [corner], images, labels) == []
    both = averaged(Averaging(True, True), [corner, wrong], images, labels)
    assert [row["option"] for row in both] == [
        "each replicate averaged over eight orientations",
        "ensemble of 2 replicates",
        "ensemble of 2 replicates, over eight orientations",
    ]
    assert [row["test_macro_f1"]["n"] for row in both] == [2, 1, 1]
    # together the confident model outvotes the wrong one
    assert both[1]["test_accuracy"]["mean"] == 1.0
    alone = averaged(Averaging(replicates=True), [wrong], images, labels)
    assert alone[0]["test_accuracy"]["mean"] == pytest.approx(0.0)
