"""What a report is made of, before it becomes HTML, Markdown, CSV and pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from .gather import ReportTrial

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure to draw. `name` is its file's, `title` says what is seen."""

    name: str
    title: str
    draw: Callable[[], Figure]
    caption: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells; a float is shown with `digits` decimals and kept whole in the CSV file."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    digits: int = 4
    folded: bool = False
    """Whether the page shows the title alone until a reader opens it."""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with paragraphs, then its pictures, then its tables."""

    title: str
    text: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """All of a report. `facts` are the few lines at its top, as name and value."""

    title: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    banner: str = ""
    card: str = ""
    """The winner's model card in Markdown; empty without a winner."""
    phone: bool = True
    """Whether its pictures heed `style.is_phone`, so that the page can have narrow ones."""
    trials: Sequence[ReportTrial] = ()
    """What the page names where the pointer is on a trial's point."""
