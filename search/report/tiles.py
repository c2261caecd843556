"""Draw small images in rows, each with a line of text below it: mistakes, and maps of where a model looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from . import style

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Tile:
    """An image (s, s, channels) and up to three short lines below it."""

    image: Image
    text: str


def mosaic(tiles: Sequence[Tile], title: str, narrow: int = 3) -> Figure:
    """Draw tiles row by row, six in a row; on a phone `narrow`."""
    columns = narrow if style.is_phone() else 6
    rows = -(-len(tiles) // columns)
    lines = max(tile.text.count("\n") for tile in tiles) + 1
    figure, panels = style.grid(title, rows, columns, 0.45 + rows * (1.02 + 0.16 * lines))
    for axes, tile in zip(panels, tiles, strict=False):
        axes.imshow(rgb(tile.image), interpolation="none")
        axes.set_xlabel(tile.text, fontsize=8, labelpad=3)
    for axes in panels:
        style.bare(axes)
    return figure


def rgb(image: Image) -> Image:
    """Return an image with three channels; a gray one repeats its own."""
    return np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image


def heat(image: Image, strength: NDArray[np.float64]) -> Image:
    """Return the image in gray with `strength` (s, s), between 0 and 1, laid over it in colour."""
    gray = np.repeat(rgb(image).mean(axis=-1, keepdims=True), 3, axis=-1)
    colour = 255 * colormaps["magma"](strength)[..., :3]
    return np.asarray(np.round(0.4 * gray + 0.6 * colour), np.uint8)
