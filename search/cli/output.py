"""What commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from ..database.passwords import hide_passwords

# no emoji: a path may hold ":name:"
stdout = Console(highlight=False, soft_wrap=True, emoji=False)
stderr = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)

MAX_MESSAGE = 2000


def message(text: str) -> None:
    """A line for the person at the terminal: one line, whatever was typed or found in a file."""
    shown = hide_passwords(text)
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in shown)
    shown = shown if len(shown) <= MAX_MESSAGE else shown[:MAX_MESSAGE] + " ..."
    stderr.print(f"bloodsearch: {shown}", markup=False)


def line(text: str = "") -> None:
    """A line of the result."""
    stdout.print(text, markup=False)


def as_json(value: object) -> None:
    """The result as one JSON object."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    title: str = "",
    *,
    to: Console = stdout,
) -> None:
    """Columns whose name ends in "#" are numbers, aligned right."""
    found = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for column in columns:
        found.add_column(
            column.removesuffix("#"),
            justify="right" if column.endswith("#") else "left",
            overflow="fold",
        )
    for row in rows:
        found.add_row(*(_cell(value) for value in row))
    # a pipe has no width of its own: never fold columns there
    width = None if to.file.isatty() else 160
    Console(file=to.file, highlight=False, width=width).print(found, markup=False)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def short_params(params: dict[str, Any]) -> str:
    """Parameters in one line, numbers to three digits."""
    return " ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in params.items()
    )


def duration(seconds: float) -> str:
    """12.3 s, 4 min 05 s, 2 h 03 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
