"""Draw the data: samples of each class, and the number of images of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..data.load import Dataset
from . import style

Images = NDArray[np.uint8]


def samples(data: Dataset, title: str, n: int = 8) -> Figure:
    """Show the first `n` training images of each class in their own order, so none was picked."""
    rows = [
        (name, data.train_images[data.train_labels == i][:n])
        for i, name in enumerate(data.info.classes)
    ]
    return _mosaic(rows, title, n)


def one_class(data: Dataset, name: str, title: str, n: int = 32, columns: int = 8) -> Figure:
    """Show the first `n` training images of one class."""
    images = data.train_images[data.train_labels == data.info.classes.index(name)][:n]
    rows = [("", images[i : i + columns]) for i in range(0, len(images), columns)]
    return _mosaic(rows, title, columns)


def distribution(counts: Mapping[str, Sequence[int]], classes: Sequence[str], title: str) -> Figure:
    """Draw the images of each class by split. `counts` maps a split's name to a number per class."""
    figure, axes = style.one(title, height=3.9)
    places = np.arange(len(classes))
    left = np.zeros(len(classes))
    colours = (style.BLUE, style.ORANGE, style.GREEN)
    for colour, (split, values) in zip(colours, counts.items(), strict=False):
        axes.barh(places, values, left=left, color=colour, label=split)
        left += np.asarray(values)
    for place, total in zip(places, left, strict=True):
        axes.annotate(f"{total:,.0f}", (total, place), xytext=(4, 0), textcoords="offset points",
                      va="center", fontsize=9)  # fmt: skip
    axes.set_yticks(places, classes)
    axes.invert_yaxis()
    axes.set_xlim(0, float(left.max()) * 1.12)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("number of images")
    style.legend(figure, axes)
    return figure


def pairs(rows: Sequence[tuple[str, Images]], title: str, n: int = 8) -> Figure:
    """Show misclassified images, one row for each labelled pair."""
    return _mosaic(rows, title, n)


def _mosaic(rows: Sequence[tuple[str, Images]], title: str, n: int) -> Figure:
    """Draw rows of up to `n` images (s, s, c) with a label on the left; half as many on a phone."""
    n = n // 2 if style.is_phone() else n
    side = next((len(image) for _, images in rows for image in images), 1)
    gap = max(1, side // 9)
    sheet = np.zeros((len(rows) * (side + gap) - gap, n * (side + gap) - gap, 4), np.uint8)
    for r, (_, images) in enumerate(rows):
        for c, image in enumerate(images[:n]):
            y, x = r * (side + gap), c * (side + gap)
            sheet[y : y + side, x : x + side, :3] = image
            sheet[y : y + side, x : x + side, 3] = 255
    figure, axes = style.one(title, height=min(16.0, 0.6 + 0.62 * len(rows)))
    axes.imshow(sheet, interpolation="none")  # the browser enlarges the pixels: 0.2 MB less
    style.bare(axes)
    middles = [r * (side + gap) + side / 2 for r in range(len(rows))]
    axes.set_yticks(middles, [label for label, _ in rows])
    axes.tick_params(length=0)
    # the usual layout cut the longest label; this one is made for images, whose shape is fixed
    figure.set_layout_engine("compressed")
    return figure
