"""Planted faults are reported, and clean data are not blamed."""

from __future__ import annotations

import numpy as np
import pytest
from smooth_images import smooth

from bloodsearch.search.data.checks import DataChecks, check_images
from bloodsearch.search.data.similar import Images

NAMES = ("a", "b")


def labels(n: int, ones: int) -> Images:
    return np.array([1] * ones + [0] * (n - ones), np.uint8)


def check(train: Images, val: Images) -> DataChecks:
    return check_images(
        (train, labels(len(train), len(train) // 2)), (val, labels(len(val), len(val) // 2)), NAMES
    )


def test_clean_data_have_no_findings() -> None:
    found = check(smooth(200), smooth(60, seed=1))
    assert found.findings() == []
    assert found.same_within == {"train": 0, "validation": 0}


@pytest.mark.parametrize("channels", [1, 3])
def test_copies_are_counted_and_named(channels: int) -> None:
    train, val = smooth(80, channels=channels), smooth(40, channels=channels, seed=1)
    train[70] = train[3]
    val[5] = train[60]  # of class a in train, of class b in val
    val[30] = np.clip(train[61].astype(int) + 6, 0, 255)
    found = check(train, val)
    assert found.same_within == {"train": 1, "validation": 0}
    assert found.same_across == ((60, 5),)
    assert found.similar_across == ((61, 30),)
    assert found.conflicts == ((60, 5),)
    assert found.findings() == [
        "1 train images equal another train image",
        "the same pixels are in both splits: 1 pair (train and val image 60 and 5)",
        "images of both splits look the same: 1 pair (train and val image 61 and 30)",
        "images that look the same have two classes: 1 pair (train and val image 60 and 5)",
    ]


def test_images_of_one_colour_are_named() -> None:
    train, val = smooth(50), smooth(20, seed=1)
    train[7], val[3] = (1, 2, 3), 0
    train[8, 0, 0] = train[8, -1, -1]  # the corners alone say nothing
    found = check(train, val)
    assert found.constant == {"train": (7,), "validation": (3,)}
    assert "1 train images have one colour only (image 7)" in found.findings()


def test_a_class_with_another_share_is_named() -> None:
    train, val = smooth(400), smooth(200, seed=1)
    found = check_images((train, labels(400, 40)), (val, labels(200, 60)), NAMES)
    assert [shift.name for shift in found.shifts] == ["b"]
    assert found.findings() == [
        "b is 10.0% of the training images but 30.0% of the validation images"
    ]
    # the same shares in few images are chance
    few = check_images((train[:40], labels(40, 4)), (val[:10], labels(10, 3)), NAMES)
    assert few.shifts == ()
