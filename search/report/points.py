"""Remember where a figure shows trials, so that a page can name the trial under the pointer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from .gather import ReportTrial

MANY = 400
"""Points of one kind from which on they are drawn as pixels: 3,000 of them as shapes take 0.4 MB."""
SCALE = 10_000
"""The width and the height of a figure, in the units of `places`."""


@dataclass(frozen=True, slots=True)
class Points:
    """Trials by their numbers, drawn at `xs` and `ys` of one pair of axes."""

    axes: Axes
    xs: Sequence[float]
    ys: Sequence[float]
    trials: Sequence[int]


class Drawing(Figure):
    """A figure that knows which trial each of its points is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.trial_points: list[Points] = []


def scatter(
    axes: Axes, trials: Sequence[ReportTrial], xs: Sequence[float], ys: Sequence[float], **look: Any
) -> None:
    """Draw a point for each of `trials` and remember where it is. `look` is for `Axes.scatter`."""
    axes.scatter(xs, ys, rasterized=len(xs) > MANY, **look)
    remember(axes, xs, ys, [t.number for t in trials])


def remember(axes: Axes, xs: Sequence[float], ys: Sequence[float], trials: Sequence[int]) -> None:
    """Note that points of `trials` are at `xs` and `ys`, however they were drawn."""
    figure = axes.get_figure(root=True)
    assert isinstance(figure, Drawing)
    figure.trial_points.append(Points(axes, xs, ys, trials))


def places(figure: Drawing) -> list[tuple[int, int, int]]:
    """Return x from the left, y from the top and trial number of each visible point of a drawn figure.

    x and y are parts of the figure's width and height in units of 1/`SCALE`. Points outside their axes are
    left out.
    """
    found = []
    for points in figure.trial_points:
        at = points.axes.transData.transform(np.column_stack([points.xs, points.ys]))
        inside = points.axes.bbox.padded(3)
        for (x, y), number in zip(at, points.trials, strict=True):
            if inside.contains(x, y):
                left, top = x / figure.bbox.width, 1 - y / figure.bbox.height
                found.append((round(SCALE * left), round(SCALE * top), number))
    return found
