"""Pictures of a trial: its curve, its confusion matrix and its F1 by class."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from ..data.info import DatasetInfo
from ..report import class_figures, progress_figures, style
from ..report.gather import report_trial
from ..results import ClassScore

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CURVE = "curve.png"
DPI = 100
"""A picture 700 points wide, of 30 to 50 kB: a note shows it as it is."""


def trial_pictures(trial: FrozenTrial, data: DatasetInfo) -> dict[str, bytes]:
    """Return the pictures of a finished trial by file name; fewer where it stores too little for one."""
    shown = report_trial(trial, {})
    draw: dict[str, Callable[[], Figure]] = {}
    if shown.curve:
        curve = f"Trial {shown.label}: validation macro-F1 and losses by epoch"
        draw[CURVE] = lambda: progress_figures.curves([shown], curve)
    counts = shown.confusion
    if counts is not None and counts.shape == (len(data.classes),) * 2:
        images = f"{int(counts.sum()):,} validation images"
        matrix = f"Trial {shown.label}: true and predicted classes ({images})"
        scores, bars = (
            _scores(counts, data),
            f"Trial {shown.label}: scores of each class ({images})",
        )
        draw["confusion.png"] = lambda: class_figures.confusion(
            counts, data, matrix, normalised=False
        )
        draw["f1-by-class.png"] = lambda: class_figures.per_class(scores, bars)
    return _drawn(draw)


def confusion_picture(counts: Sequence[Sequence[int]], data: DatasetInfo, title: str) -> bytes:
    """Return the picture of a confusion matrix."""
    matrix = np.asarray(counts, dtype=np.int64)
    name = "confusion.png"
    return _drawn({name: lambda: class_figures.confusion(matrix, data, title, normalised=False)})[
        name
    ]


def _drawn(draw: Mapping[str, Callable[[], Figure]]) -> dict[str, bytes]:
    with style.styled(dpi=DPI), tempfile.TemporaryDirectory() as folder:
        for name, make in draw.items():
            style.save(make(), Path(folder), name.removesuffix(".png"), ("png",))
        return {name: (Path(folder) / name).read_bytes() for name in draw}


def _scores(counts: NDArray[np.int64], data: DatasetInfo) -> list[ClassScore]:
    # not evaluation.scoring: it imports torch, for which the owner of a search has no use
    hits, true, predicted = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    return [
        ClassScore(
            name=name,
            precision=float(hits[i] / max(predicted[i], 1)),
            recall=float(hits[i] / max(true[i], 1)),
            f1=float(2 * hits[i] / max(true[i] + predicted[i], 1)),
            n=int(true[i]),
        )
        for i, name in enumerate(data.classes)
    ]
