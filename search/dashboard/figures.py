"""Figures of a study that optuna-dashboard draws itself: plotly's JSON, which needs no plotly here."""

from __future__ import annotations

import json
from typing import Any

from ..data.info import DatasetInfo
from ..records import TrialRecord
from .notes import StudyPage

_RED = "#D55E00"


def study_figures(page: StudyPage) -> dict[str, str]:
    """Return figures by their names: true and predicted classes, and F1 by class, of the best trial."""
    if page.kind != "search" or not page.top or not page.top[0].confusion:
        return {}
    best = page.top[0]
    if len(best.confusion or []) != len(page.data.classes):
        return {}
    return {"confusion": _json(_confusion(best, page.data)), "f1-by-class": _json(_classes(page))}


def _confusion(trial: TrialRecord, data: DatasetInfo) -> dict[str, Any]:
    counts = trial.confusion or []
    names = list(data.classes)
    share = [[round(n / max(sum(row), 1), 4) for n in row] for row in counts]
    heatmap = {
        "type": "heatmap", "z": share, "x": names, "y": names, "text": counts, "texttemplate": "%{text}",
        "colorscale": [[0, "#FFFFFF"], [1, "#08519C"]], "zmin": 0, "zmax": 1, "showscale": False,
        "hovertemplate": "%{y} taken for %{x}: %{text} images<extra></extra>",
    }  # fmt: skip
    title = f"Trial {trial.number}, the best: validation images by true class and predicted class"
    axes = {
        "xaxis": {"title": {"text": "predicted class"}, "automargin": True},
        "yaxis": {"title": {"text": "true class"}, "autorange": "reversed", "automargin": True},
    }
    return _figure([heatmap], title, **axes)


def _classes(page: StudyPage) -> dict[str, Any]:
    best = page.top[0]
    scores = best.per_class_f1 or []
    colours = ["#0072B2"] * len(scores)
    if scores:
        colours[min(range(len(scores)), key=lambda i: scores[i] or 0.0)] = _RED
    bars = {
        "type": "bar", "orientation": "h", "x": scores, "y": list(page.data.classes),
        "marker": {"color": colours}, "texttemplate": "%{x:.3f}", "hoverinfo": "skip",
    }  # fmt: skip
    return _figure(
        [bars],
        f"Trial {best.number}, the best: F1 of each class, the worst in red",
        xaxis={"title": {"text": "F1"}, "range": [0, 1.08]},
        yaxis={"autorange": "reversed", "automargin": True},
    )


def _figure(data: list[dict[str, Any]], title: str, **layout: Any) -> dict[str, Any]:
    return {"data": data, "layout": {"title": {"text": title}, "height": 480, **layout}}


def _json(figure: dict[str, Any]) -> str:
    return json.dumps(figure, separators=(",", ":"), allow_nan=False)
