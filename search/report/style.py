"""Set how all pictures look: colours that colour-blind readers can tell apart, text large enough."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import EngFormatter, FixedFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from ..text import lines
from .points import Drawing

# Okabe and Ito's palette
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY = "#CC79A7", "#56B4E9", "#666666"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED, GREY)
FAMILY = {"cnn": BLUE, "mlp": ORANGE}
MARKER = {"cnn": "o", "mlp": "s"}
FAMILY_NAME = {"cnn": "CNN", "mlp": "MLP", "": "other program"}
INK, PAPER, GRID = "#1A1A1A", "#FEFEFE", "#E5E5E5"
"""Text and lines, background, grid. They are neither black nor white, so that the page can change them for a
dark screen and leave alone what is black or white on a coloured cell."""
WIDTH, PHONE_WIDTH = 7.0, 3.9
"""Inches; the page shows a picture about that wide, so 10 points are read as 10 points."""
GAP = 2
"""Pixels around a note that no other note may enter."""
MIN_TO_HIDE = 4
"""Values an axis needs before it leaves any out."""

_RC = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": GRID,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 150,
    # text stays text: small, searchable, read aloud; the same file for the same numbers
    "svg.fonttype": "none",
    "svg.hashsalt": "bloodsearch",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica", "sans-serif"],
}


@contextlib.contextmanager
def styled(dpi: int = 150) -> Iterator[None]:
    """Give the same look to everything drawn and saved inside. PNG files get `dpi` points per inch."""
    with matplotlib.rc_context(_RC | {"savefig.dpi": dpi}):  # type: ignore[arg-type]
        yield


_phone = ContextVar("phone", default=False)


@contextlib.contextmanager
def phone() -> Iterator[None]:
    """Draw everything inside for a phone: narrower, with panels below each other."""
    token = _phone.set(True)
    try:
        yield
    finally:
        _phone.reset(token)


def is_phone() -> bool:
    """Return whether pictures are drawn for a phone now."""
    return _phone.get()


def one(title: str, height: float = 3.8) -> tuple[Drawing, Axes]:
    """Make a figure with one pair of axes under a title."""
    figure = _figure(title, height)
    return figure, figure.add_subplot()


def several(title: str, rows: int, columns: int, height: float) -> tuple[Drawing, list[Axes]]:
    """Make a figure with a grid of axes, listed row by row. On a phone all are below each other."""
    if is_phone() and columns > 1:
        height, rows, columns = 0.85 * height * columns, rows * columns, 1
    return grid(title, rows, columns, height)


def grid(title: str, rows: int, columns: int, height: float) -> tuple[Drawing, list[Axes]]:
    """Make a figure with a grid of axes, listed row by row, also on a phone."""
    figure = _figure(title, height)
    axes = [figure.add_subplot(rows, columns, i + 1) for i in range(rows * columns)]
    return figure, axes


def _figure(title: str, height: float) -> Drawing:
    figure = Drawing(figsize=(PHONE_WIDTH if is_phone() else WIDTH, height))
    headline(figure, title)
    return figure


def family_name(family: str) -> str:
    """Return a family's name for people."""
    return FAMILY_NAME.get(family, family)


def look(family: str) -> tuple[str, str]:
    """Return a family's colour and marker."""
    return FAMILY.get(family, GREY), MARKER.get(family, "D")


def headline(figure: Figure, title: str) -> None:
    """Set the figure's title, wrapped to its width."""
    wrapped = textwrap.fill(title, round(figure.get_figwidth() * 10.3))
    figure.suptitle(wrapped, x=0.01, ha="left", fontsize=11, fontweight="bold")


def log_axis(axes: Axes, label: str, unit: str = "") -> None:
    """Make the x axis logarithmic with plain numbers: 20k, 100k, 2M."""
    axes.set_xscale("log")
    axes.set_xlabel(f"{label} (log scale)")
    low, high = axes.get_xlim()
    wide = high / low > 30
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if wide else (1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(EngFormatter(unit, sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis on which a few very low values do not squeeze the others."""
    low, high = min(values), max(values)
    if len(values) >= MIN_TO_HIDE:
        usual = float(np.quantile(values, 0.2, method="higher"))
        low = max(low, usual - 0.75 * (high - usual))
    pad = 0.06 * max(high - low, 1e-3)
    return low - pad, high + pad


def zoom(axes: Axes, values: Sequence[float], noun: str) -> None:
    """Set the y axis by `limits` and say below the x axis how many `noun` are off it.

    Call after the x label is set.
    """
    if not values:
        return
    bottom, top = limits(values)
    axes.set_ylim(bottom, top)
    hidden = sum(value < bottom for value in values)
    if hidden:
        axes.set_xlabel(f"{axes.get_xlabel()}\n{below(hidden, noun)}")


def below(n: int, noun: str) -> str:
    """Return the note on `n` values that an axis leaves out; `noun` is plural."""
    return f"({n} {noun if n > 1 else noun.removesuffix('s')} below the axis)"


def legend(figure: Figure, axes: Axes, columns: int = 4) -> None:
    """Put the legend of `axes` below them, where it hides nothing."""
    legend_of(figure, axes.get_legend_handles_labels()[0], columns)


def legend_of(figure: Figure, handles: Sequence[Artist], columns: int = 4) -> None:
    """Put a legend of labelled `handles` below the axes; a phone has room for two columns, or one."""
    if is_phone():
        longest = max((len(str(handle.get_label())) for handle in handles), default=0)
        columns = 2 if longest <= 20 else 1
    figure.legend(handles=handles, loc="outside lower right", ncols=columns)


def thin_out(figure: Figure) -> None:
    """Remove notes at points that touch an earlier note. Call when everything else is drawn."""
    figure.draw_without_rendering()
    for axes in figure.axes:
        kept: list[Bbox] = []
        for note in list(axes.texts):
            box = note.get_window_extent().padded(GAP)
            if any(box.overlaps(other) for other in kept):
                note.remove()
            else:
                kept.append(box)


def bare(axes: Axes) -> None:
    """Remove ticks, frame and grid, for an image."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def tidy(figure: Figure) -> None:
    """Make every text of a figure harmless. Call before it is saved."""
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            if isinstance(formatter := axis.get_major_formatter(), FixedFormatter):
                formatter.seq = [lines(str(label)) for label in formatter.seq]
    for item in figure.findobj(Text):
        assert isinstance(item, Text)
        item.set_text(lines(item.get_text()))
        if not item.get_text().startswith(r"$\mathdefault"):
            item.set_parse_math(False)  # a planted "$" is no formula


def save(figure: Figure, folder: Path, name: str, kinds: Sequence[str]) -> None:
    """Write NAME.svg and NAME.png into `folder`, or one of them."""
    tidy(figure)
    for kind in kinds:
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(folder / f"{name}.{kind}", metadata=metadata)
