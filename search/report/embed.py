"""Put pictures into the page: each as wide and as narrow as needed, in colours for light and dark screens."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from ..text import one_line
from . import style
from .gather import ReportTrial
from .parts import Cell, Picture
from .points import SCALE, Drawing, places

MOST_POINTS = 5_000
"""Points of a picture that a pointer can still tell apart."""
MOST_LETTERS = 60
DARK = {
    style.PAPER: "#16181D",
    style.INK: "#E8E8E8",
    style.GRID: "#33373E",
    style.GREY: "#A6A6A6",
    style.BLUE: "#4AA8E0",
}
"""What a colour becomes on a dark screen. The others are bright enough on both."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A picture as data URIs of SVG, and where its trials are; empty without a version for phones."""

    wide: str
    phone: str = ""
    points: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)


def embed(picture: Picture, svg: str, figure: Figure, *, phone: bool = True) -> Embedded:
    """Return a picture for the page. `svg` is its file, `figure` what was saved there.

    With `phone` it is drawn a second time, narrower. Call inside `style.styled`.
    """
    points, narrow = {"wide": _places(figure)}, ""
    if phone:
        with style.phone():
            drawn = picture.draw()
            narrow = _uri(_svg(drawn))
        points["phone"] = _places(drawn)
    few = 0 < len(points["wide"]) <= MOST_POINTS
    return Embedded(_uri(svg), narrow, points if few else {})


def hover(trials: Iterable[ReportTrial], embedded: Mapping[str, Embedded]) -> dict[str, Any] | None:
    """Return what the script needs to name trials in pictures; None if there is nothing to name."""
    pictures = {name: one.points for name, one in embedded.items() if one.points}
    wanted = {
        point[2] for kinds in pictures.values() for points in kinds.values() for point in points
    }
    chosen = [t for t in trials if t.number in wanted]
    names = list(dict.fromkeys(name for t in chosen for name in _parameters(t)))
    if not chosen:
        return None
    return {
        "scale": SCALE,
        "names": names,
        "trials": {
            str(t.number): (_title(t), [_shown(_parameters(t).get(name)) for name in names])
            for t in chosen
        },
        "pictures": pictures,
    }


def _places(figure: Figure) -> list[tuple[int, int, int]]:
    return places(figure) if isinstance(figure, Drawing) else []


def _parameters(trial: ReportTrial) -> dict[str, Any]:
    return trial.record.sampled or trial.params


def _title(trial: ReportTrial) -> str:
    score = "no score" if trial.best is None else f"{trial.best:.4f}"
    pruned = f", pruned after {trial.epochs} epochs" if trial.state == "pruned" else ""
    return f"trial {trial.label}: {style.family_name(trial.family)}, {score}{pruned}"


def _shown(value: Any) -> Cell:
    """Return a parameter's value for people; None if the trial lacks it."""
    if value is None:
        return None
    return f"{value:.3g}" if isinstance(value, float) else one_line(str(value))[:MOST_LETTERS]


def _svg(figure: Figure) -> str:
    style.tidy(figure)
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def _uri(svg: str) -> str:
    """Return a data URI of `svg` that follows the screen's colours."""
    light, dark = [], []
    for i, (colour, on_dark) in enumerate(DARK.items()):
        svg = svg.replace(colour.lower(), f"var(--c{i})")
        light.append(f"--c{i}:{colour}")
        dark.append(f"--c{i}:{on_dark}")
    theme = (
        f":root{{{';'.join(light)}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{';'.join(dark)}}}}}"
    )
    svg = svg.replace("*{stroke-linejoin", f"{theme}*{{stroke-linejoin", 1)
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
