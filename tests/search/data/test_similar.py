"""Copies are recognised although their pixels differ; other pictures are not taken for copies."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageEnhance
from smooth_images import smooth

from bloodsearch.search.data.similar import MAX_PIXELS, Images, perceptual_hashes, similar_pairs


def pairs(a: Images, b: Images) -> list[tuple[int, int]]:
    hashes = perceptual_hashes(a), perceptual_hashes(b)
    return similar_pairs(hashes, (lambda i: a[i], lambda j: b[j]))


def changed(image: Images, how: str) -> Images:
    if how == "jpeg":
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=75)
        return np.asarray(Image.open(file))
    if how == "brighter":
        return np.asarray(ImageEnhance.Brightness(Image.fromarray(image)).enhance(1.05))
    noise = np.random.default_rng(1).normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("how", ["jpeg", "brighter", "noise"])
@pytest.mark.parametrize("channels", [1, 3])
def test_changed_copies_are_recognised(how: str, channels: int) -> None:
    images = smooth(40, channels=channels)
    copies = np.stack([changed(image, how) for image in images[5:25]])
    assert pairs(images, copies) == [(i + 5, i) for i in range(20)]


def test_one_channel_on_an_axis_of_its_own_is_the_same() -> None:
    images = smooth(20, channels=1)
    np.testing.assert_array_equal(perceptual_hashes(images), perceptual_hashes(images[..., None]))


@pytest.mark.parametrize("side", [8, 28, 64])
def test_other_pictures_are_not_copies(side: int) -> None:
    assert pairs(smooth(300, side), smooth(300, side, seed=1)) == []


def test_pictures_of_one_colour_are_like_nothing() -> None:
    flat = np.full((5, 28, 28, 3), 7, np.uint8)
    assert pairs(flat, flat) == []


def test_an_empty_array_has_no_pairs() -> None:
    empty = np.empty((0, 28, 28, 3), np.uint8)
    assert pairs(empty, smooth(3)) == []


def test_millions_of_copies_end_soon() -> None:
    images = np.repeat(smooth(1, side=8), 5000, axis=0)
    started = time.perf_counter()
    assert len(pairs(images, images)) == 10_000
    assert time.perf_counter() - started < 20


def test_large_pictures_are_compared_a_few_at_a_time() -> None:
    """1,024 pairs of 512 x 512 pixels took 11 GB."""
    images: Images = np.repeat(smooth(1, 512), 30, axis=0)
    most = 0

    def look(chosen: NDArray[np.intp]) -> Images:
        nonlocal most
        most = max(most, len(chosen))
        return images[chosen]

    hashes = perceptual_hashes(images)
    assert len(similar_pairs((hashes, hashes), (look, look))) == 900
    assert most * images[0].size <= MAX_PIXELS
