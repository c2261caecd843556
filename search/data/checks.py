"""Check the training and validation splits: copies, empty images, classes that differ between the splits.

The test split is sealed, so nothing here reads it. An import compares all three splits before it seals them,
and writes the numbers into the file (search/importing/run.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .similar import Images, digest, perceptual_hashes, similar_pairs

Labels = NDArray[np.uint8]

MIN_RATIO = 1.5
MIN_Z = 4.0
"""A class differs between the splits if its shares differ by this factor, and by so many standard errors."""
MAX_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Shift:
    """A class with another share of the validation split than of the training split."""

    name: str
    train: float
    val: float


@dataclass(frozen=True, slots=True)
class DataChecks:
    """What the checks saw. Numbers of images count from 0, as in the file's arrays."""

    same_within: dict[str, int]
    """Images of a split that equal an earlier one of it, by the split's name."""
    same_across: tuple[tuple[int, int], ...]
    """Training and validation images with the same pixels."""
    similar_across: tuple[tuple[int, int], ...]
    """Training and validation images that look the same, with other pixels."""
    conflicts: tuple[tuple[int, int], ...]
    """Among all of them: pairs with two classes."""
    constant: dict[str, tuple[int, ...]]
    """Images of one colour, by the split's name."""
    shifts: tuple[Shift, ...]

    def findings(self) -> list[str]:
        """Return what a person should look at, one sentence each."""
        said = []
        for split, n in self.same_within.items():
            if n:
                said.append(f"{n:,} {split} images equal another {split} image")
        if self.same_across:
            said.append(f"the same pixels are in both splits: {_pairs(self.same_across)}")
        if self.similar_across:
            said.append(f"images of both splits look the same: {_pairs(self.similar_across)}")
        if self.conflicts:
            said.append(f"images that look the same have two classes: {_pairs(self.conflicts)}")
        for split, images in self.constant.items():
            if images:
                shown = ", ".join(map(str, images[:MAX_SHOWN]))
                said.append(f"{len(images):,} {split} images have one colour only (image {shown})")
        for shift in self.shifts:
            said.append(
                f"{shift.name} is {shift.train:.1%} of the training images but {shift.val:.1%} of the "
                "validation images"
            )
        return said


def _pairs(pairs: Sequence[tuple[int, int]]) -> str:
    shown = ", ".join(f"{i} and {j}" for i, j in pairs[:MAX_SHOWN])
    more = " ..." if len(pairs) > MAX_SHOWN else ""
    unit = "pair" if len(pairs) == 1 else "pairs"
    return f"{len(pairs):,} {unit} (train and val image {shown}{more})"


def check_images(
    train: tuple[Images, Labels], val: tuple[Images, Labels], classes: Sequence[str]
) -> DataChecks:
    """Check two splits of images (n, side, side) or (n, side, side, channels) and labels (n,)."""
    splits = {"train": train, "validation": val}
    digests = {split: [*map(digest, images)] for split, (images, _) in splits.items()}
    hashes = perceptual_hashes(train[0]), perceptual_hashes(val[0])
    alike = similar_pairs(hashes, (lambda i: train[0][i], lambda j: val[0][j]))
    first = {d: i for i, d in reversed(list(enumerate(digests["train"])))}
    same = tuple((first[d], j) for j, d in enumerate(digests["validation"]) if d in first)
    similar = [(i, j) for i, j in alike if digests["train"][i] != digests["validation"][j]]
    return DataChecks(
        same_within={split: len(d) - len(set(d)) for split, d in digests.items()},
        same_across=same,
        similar_across=tuple(similar),
        conflicts=tuple((i, j) for i, j in (*same, *similar) if train[1][i] != val[1][j]),
        constant={split: _constant(images) for split, (images, _) in splits.items()},
        shifts=tuple(_shifts(train[1], val[1], classes)),
    )


def _constant(images: Images) -> tuple[int, ...]:
    """Return the numbers of the images whose pixels are all the same."""
    flat = images.reshape(len(images), images.shape[1] * images.shape[2], -1)
    return tuple(
        i for i, pixels in enumerate(flat) if (pixels[0] == pixels[-1]).all()
        and (pixels == pixels[0]).all()
    )  # fmt: skip


def _shifts(train: Labels, val: Labels, classes: Sequence[str]) -> list[Shift]:
    """Return the classes whose shares differ by more than chance explains, and by much."""
    shifts = []
    for label, name in enumerate(classes):
        a, b = float((train == label).mean()), float((val == label).mean())
        both = (a * len(train) + b * len(val)) / (len(train) + len(val))
        error = math.sqrt(both * (1 - both) * (1 / len(train) + 1 / len(val)))
        if error and abs(a - b) / error >= MIN_Z and max(a, b) >= MIN_RATIO * min(a, b):
            shifts.append(Shift(name, a, b))
    return shifts
