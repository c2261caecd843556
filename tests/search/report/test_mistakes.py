"""Mistakes and maps: the most confident errors first, and heat where covering an image hurts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray
from report_support import MakeStudy

from bloodsearch.search.database.storage import Storage
from bloodsearch.search.report.gather import Gathered, gather
from bloodsearch.search.report.mistakes import N_MISTAKES, looks, mistakes
from bloodsearch.search.report.predictions import ValidationPredictions
from bloodsearch.search.report.saliency import occlusion
from bloodsearch.search.report.tiles import heat, rgb

N = 64


def corner(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """A model of two classes that looks at the top left corner alone."""
    dark = 1 - images[:, :7, :7].mean(axis=(1, 2, 3)) / 255
    first = 0.01 + 0.98 * dark
    return np.stack([first, 1 - first], axis=1)


def test_heat_is_where_the_model_looks() -> None:
    image = np.zeros((28, 28, 3), np.uint8)
    found = occlusion(corner, image, np.array([255, 255, 255], np.uint8))
    assert found.probability == pytest.approx(0.99)
    assert found.lowest == pytest.approx(0.01)
    assert np.unravel_index(found.drop.argmax(), found.drop.shape)[0] < 7
    assert found.drop[:4, :4].min() > 4
    assert np.abs(found.drop[14:, 14:]).max() < 1e-9


@pytest.mark.parametrize(("side", "channels"), [(28, 3), (5, 1), (64, 1), (65, 3)])
def test_every_pixel_of_any_image_is_covered(side: int, channels: int) -> None:
    image = np.full((side, side, channels), 9, np.uint8)
    drop = occlusion(corner, image, np.zeros(channels, np.uint8)).drop
    assert drop.shape == (side, side)
    assert np.isfinite(drop).all()
    assert heat(image, np.zeros((side, side))).shape == rgb(image).shape == (side, side, 3)


@pytest.fixture
def study(storage: Storage, make_study: MakeStudy) -> Gathered:
    gathered = gather(storage, make_study([0.9, 0.8]), None)
    assert gathered.dataset is not None
    data = gathered.dataset
    short = dataclasses.replace(
        data, val_images=data.val_images[:N], val_labels=data.val_labels[:N]
    )
    return dataclasses.replace(gathered, dataset=short)


def predictions(study: Gathered, wrong: dict[int, float]) -> ValidationPredictions:
    """Two replicates that are right, but for `wrong`: images with the probability of a wrong class."""
    assert study.dataset is not None
    labels = study.dataset.val_labels
    probabilities = np.full((2, N, 8), 0.01)
    probabilities[:, np.arange(N), labels] = 0.93
    for image, probability in wrong.items():
        probabilities[:, image] = (1 - probability) / 7
        probabilities[:, image, (labels[image] + 1) % 8] = probability
    even = np.full(8, 1 / 8)
    return ValidationPredictions(
        probabilities, np.zeros((8, 8), np.int64), [lambda images: np.tile(even, (len(images), 1))]
    )


def test_the_most_confident_mistakes_come_first(study: Gathered) -> None:
    wrong = {i: 0.5 + i / 100 for i in range(20)} | {40: 0.99}
    section = mistakes(study, predictions(study, wrong), "")
    (table,) = section.tables
    assert [row[0] for row in table.rows] == [40, *range(19, 19 - N_MISTAKES + 1, -1)]
    assert table.rows[0][3] == pytest.approx(0.99)
    assert table.rows[0][4] == "2 of 2"
    (picture,) = section.pictures
    assert picture.title.startswith(f"21 of {N} validation images are misclassified, 1 of them")
    assert sum(len(axes.images) for axes in picture.draw().axes) == N_MISTAKES


def test_without_a_mistake_or_a_model_there_is_a_sentence(study: Gathered) -> None:
    assert mistakes(study, predictions(study, {}), "").text == [
        "No validation image is misclassified."
    ]
    for section in (mistakes, looks):
        (warning,) = section(study, None, "the weights are elsewhere").warnings
        assert warning == "There are no pictures: the weights are elsewhere."


def test_each_class_has_images_and_their_maps(study: Gathered) -> None:
    assert study.dataset is not None
    section = looks(study, predictions(study, {}), "")
    n = sum(min(3, int((study.dataset.val_labels == c).sum())) for c in range(8))
    assert sum(len(axes.images) for axes in section.pictures[0].draw().axes) == 2 * n
