"""Draw reliability diagrams: the share of right predictions by the probability that the model gave."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evaluation.class_intervals import wilson
from ..results import Calibrated
from . import style
from .words import plural

LEAST_IMAGES = 5
"""Images of a bin without which its share of right predictions says nothing."""


def reliability(before: Calibrated, after: Calibrated, n_replicates: int, title: str) -> Figure:
    """Draw a diagram before and one after temperature scaling, with 95 % intervals (Wilson)."""
    figure, panels = style.several(title, 1, 2, 3.7)
    both = [_points(one, n_replicates) for one in (before, after)]
    lowest = min((min(x, low) for points in both for x, _, low, _, _ in points), default=0.0)
    start = max(0.0, lowest - 0.03)
    names = ("as predicted", "after scaling")
    for axes, one, points, name in zip(panels, (before, after), both, names, strict=True):
        axes.plot([start, 1], [start, 1], color=style.GREY, linewidth=1, linestyle="--")
        _draw(axes, points)
        hidden = sum(n / n_replicates < LEAST_IMAGES for n, _, _ in one.bins if n)
        note = f"\n({plural(hidden, 'bin')} with under {LEAST_IMAGES} images not shown)"
        axes.set_title(f"{name}: error {one.error.mean:.4f}", fontsize=10)
        axes.set(xlabel=f"probability of the predicted class{note if hidden else ''}")
        axes.set(xlim=(start, 1), ylim=(start, 1), ylabel="share that is right")
    return figure


def _points(one: Calibrated, n_replicates: int) -> list[tuple[float, float, float, float, float]]:
    """Return mean probability, share right, its interval and images of each bin that has enough images."""
    points = []
    for count, confidence, right in one.bins:
        n = count / n_replicates  # each image was counted once for each replicate
        if n >= LEAST_IMAGES:
            share = right / count
            points.append((confidence / count, share, *wilson(share, n), n))
    return points


def _draw(axes: Axes, points: Sequence[tuple[float, float, float, float, float]]) -> None:
    for x, share, low, high, n in points:
        axes.vlines(x, low, high, color=style.BLUE, linewidth=1.5)
        axes.scatter(x, share, s=14 + 6 * np.sqrt(n), color=style.BLUE, zorder=3, alpha=0.85,
                     clip_on=False)  # fmt: skip
