"""Draw errors by class: confusion matrices, precision, recall and F1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..data.info import DatasetInfo
from ..results import ClassScore
from . import style

Counts = NDArray[np.int64]


def confusion(counts: Counts, info: DatasetInfo, title: str, normalised: bool) -> Figure:
    """Draw a confusion matrix as counts, or as percentages of each true class; rows are true classes."""
    narrow = style.is_phone()
    figure, axes = style.one(title, height=4.4 if narrow else 5.9)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # the square root lets small errors be seen beside a diagonal near 1
    axes.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)
    axes.grid(False)
    for (row, column), part in np.ndenumerate(share):
        text = f"{100 * part:.{0 if narrow else 1}f}" if normalised else f"{counts[row, column]:,}"
        if not counts[row, column]:
            text = "·"
        axes.text(
            column, row, text, ha="center", va="center", fontsize=7 if narrow else 9,
            color="white" if np.sqrt(part) > 0.6 else "black",
        )  # fmt: skip
    places = range(len(counts))
    axes.set_xticks(places, info.short_classes, rotation=30, ha="right")
    axes.set_yticks(places, info.short_classes if narrow else info.classes)
    unit = "% of the true class" if normalised else "images"
    axes.set(xlabel=f"predicted class\n({unit})", ylabel="true class")
    return figure


def per_class(rows: Sequence[ClassScore], title: str) -> Figure:
    """Draw precision, recall and F1 of each class as three marks on a line, which is F1's interval."""
    figure, axes = style.one(title, height=3.7)
    for row, one in enumerate(rows):
        if one.f1_interval_95 is not None:
            axes.hlines(row, *one.f1_interval_95, color=style.INK, linewidth=1.2)
    looks = (("precision", style.BLUE, "o"), ("recall", style.ORANGE, "s"), ("f1", style.INK, "D"))
    for key, colour, marker in looks:
        axes.plot(
            [getattr(row, key) for row in rows], range(len(rows)), marker, color=colour,
            markersize=7, label="F1" if key == "f1" else key, alpha=0.85,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.invert_yaxis()
    axes.set_xlabel("score (1 is perfect)")
    axes.set_xlim(right=1.004)
    style.legend(figure, axes, 3)
    return figure


def scores_of(counts: Counts, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return name, precision, recall, F1 and n of each class of a confusion matrix."""
    from ..evaluation.scoring import class_scores

    return class_scores(counts, classes)


def averaged(counts: Counts, key: str) -> float:
    """Average a score over classes, plainly ("macro_f1") or by their images ("weighted_precision")."""
    how, _, name = key.partition("_")
    rows = scores_of(counts, [""] * len(counts))
    weights = [row["n"] if how == "weighted" else 1 for row in rows]
    return float(np.average([row[name] for row in rows], weights=weights))


def confused_pairs(counts: Counts, n: int = 6) -> list[tuple[int, int, int]]:
    """Return the `n` largest errors as (true class, predicted class, images), most first."""
    off = counts - np.diag(np.diag(counts))
    order = np.argsort(-off, axis=None, kind="stable")[:n]
    cells = [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, off.shape), strict=True)]
    return [(i, j, int(off[i, j])) for i, j in cells if off[i, j]]
