"""The rule that turns a picture into a model's pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bloodsearch.search.images.preparation import BLOODMNIST, Crop, Preparation, preparation
from bloodsearch.search.images.read import Images, read_image


def prepared(path: Path, rule: Preparation) -> Images:
    item = read_image(path, rule)
    assert item.image is not None, item.problem
    assert item.image.shape == rule.shape
    return item.image


@pytest.mark.parametrize(
    ("crop", "left", "right"), [("whole", 0, 60), (20, 20, 40), ("square", 10, 50)]
)
def test_the_crop_decides_what_is_seen(tmp_path: Path, crop: Crop, left: int, right: int) -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, left:right] = 200
    Image.fromarray(picture).save(tmp_path / "x.png")
    whole = prepared(tmp_path / "x.png", Preparation(10, crop, 3, 8))
    assert (whole == 200).all()
    picture[:, right - 1 :] = 0
    Image.fromarray(picture).save(tmp_path / "x.png")
    assert not (prepared(tmp_path / "x.png", Preparation(10, crop, 3, 8)) == 200).all()


def test_gray_keeps_its_levels_and_colours_become_gray(tmp_path: Path) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(levels).save(tmp_path / "gray.png")
    rule = Preparation(16, "square", 1, 8)
    np.testing.assert_array_equal(prepared(tmp_path / "gray.png", rule), levels)
    Image.new("RGB", (16, 16), (0, 255, 0)).save(tmp_path / "green.png")
    assert (prepared(tmp_path / "green.png", rule) == 150).all()


def test_pictures_may_be_enlarged_but_not_from_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (8, 9), (1, 2, 3)).save(tmp_path / "x.png")
    assert (prepared(tmp_path / "x.png", Preparation(28, "square", 3, 8)) == (1, 2, 3)).all()
    assert read_image(tmp_path / "x.png", Preparation(28, "square", 3, 9)).problem == (
        "is 8 x 9 pixels; the model needs 9 x 9 or more"
    )


def test_a_rule_is_stored_and_read_back() -> None:
    assert preparation(BLOODMNIST.as_json()) == BLOODMNIST
    assert BLOODMNIST.describe() == "the centre 200 x 200 pixels, resized to 28 x 28"
    gray = Preparation(8, "whole", 1, 8)
    assert preparation(gray.as_json()) == gray
    assert gray.describe() == "the whole picture, resized to 8 x 8, gray"


@pytest.mark.parametrize(
    "change",
    [{"side": 0}, {"side": 28.0}, {"side": 5000}, {"crop": "round"}, {"crop": 0}, {"crop": None},
     {"channels": 2}, {"smallest": True}, {"size": 28}],
)  # fmt: skip
def test_a_rule_that_makes_no_sense_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        preparation({**BLOODMNIST.as_json(), **change})
