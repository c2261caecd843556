"""Find pictures that occur twice: with the same pixels, or in two splits and looking the same."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..data.similar import perceptual_hashes, similar_pairs
from .listing import SPLITS, Split
from .reading import Images, Pixels, Scratch, as_gray

PART = 512
"""Images in memory at a time."""
Pairs = tuple[tuple[str, str], ...]


def same(by_split: Mapping[Split, Sequence[Pixels]]) -> tuple[Pairs, Pairs]:
    """Return the pairs of pictures with the same pixels: within a split, and across splits."""
    first: dict[tuple[bytes, Split | None], Pixels] = {}
    within: list[tuple[str, str]] = []
    across: list[tuple[str, str]] = []
    for split in SPLITS:
        for picture in sorted(by_split[split], key=lambda p: p.listed.name):
            other = first.setdefault((picture.digest, split), picture)
            anywhere = first.setdefault((picture.digest, None), picture)
            if other is not picture:
                within.append((other.listed.name, picture.listed.name))
            elif anywhere is not picture:
                across.append((anywhere.listed.name, picture.listed.name))
    return tuple(within), tuple(across)


def similar(
    by_split: Mapping[Split, Sequence[Pixels]], scratch: Scratch, *, gray: bool = False
) -> Pairs:
    """Return the pairs of pictures in two splits that look the same but have other pixels.

    With `gray` they are compared without their colours.
    """

    def look(split: Split) -> Callable[[NDArray[np.intp]], Images]:
        places = np.array([p.place for p in by_split[split]])

        def read(chosen: NDArray[np.intp]) -> Images:
            images = scratch.read(places[chosen].tolist())
            return as_gray(images) if gray else images

        return read

    hashes = {
        split: np.concatenate(
            [
                perceptual_hashes(look(split)(np.arange(i, min(i + PART, len(pictures)))))
                for i in range(0, len(pictures), PART)
            ]
        )
        for split, pictures in by_split.items()
    }
    pairs = []
    for a, b in itertools.combinations(SPLITS, 2):
        for i, j in similar_pairs((hashes[a], hashes[b]), (look(a), look(b))):
            first, second = by_split[a][i], by_split[b][j]
            if first.digest != second.digest:
                pairs.append((first.listed.name, second.listed.name))
    return tuple(pairs)
