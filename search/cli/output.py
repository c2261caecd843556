"""Print results on standard output and everything else on standard error.

Every command prints through this module. It writes control characters and escape sequences as text, so
what others put into a database or a file name cannot clear the screen or forge a line.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import logging
import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import IO, Any

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from .. import text as safe
from ..database.passwords import hide_passwords
from ..files import finite
from ..text import duration as duration

MAX_MESSAGE = 2000


class _Console(Console):
    """A console that stops printing when its reader has left, as in `... | head -1`."""

    def on_broken_pipe(self) -> None:
        discard(self.file)


# no emoji: a path may hold ":name:"
stdout = _Console(highlight=False, soft_wrap=True, emoji=False)
stderr = _Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)


class MessageHandler(logging.Handler):
    """Print log records as messages."""

    def emit(self, record: logging.LogRecord) -> None:
        message(record.getMessage())


def set_up() -> None:
    """Prepare the standard streams: missing ones are replaced, unknown characters are escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the shell: `>&-`
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            # a file name may hold what the terminal's encoding lacks
            stream.reconfigure(errors="backslashreplace")
    logging.lastResort = MessageHandler(logging.WARNING)


def flush() -> None:
    """Write out what standard output buffers. Raises OSError, such as "No space left on device"."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard(sys.stdout)
    except OSError:
        discard(sys.stdout)  # or the interpreter tries again when it ends
        raise


def discard(stream: IO[str]) -> None:
    """Throw away what is written to `stream` from now on, so the command can finish its work."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    if stream is sys.stdout:
        stdout.quiet = True


def reader_left() -> bool:
    """Return whether the program that reads standard output has ended, as `head` does."""
    return stdout.quiet


def can_draw(console: Console) -> bool:
    """Return whether `console` is a terminal on which lines can be drawn again."""
    return console.is_terminal and not console.is_dumb_terminal


def message(text: str) -> None:
    """Print one line for the user on standard error, without passwords."""
    shown = safe.one_line(hide_passwords(text))
    shown = shown if len(shown) <= MAX_MESSAGE else shown[:MAX_MESSAGE] + " ..."
    stderr.print(f"bloodsearch: {shown}", markup=False)


def progress(text: str) -> None:
    """Print one line about running work on standard error."""
    stderr.print(safe.one_line(text), markup=False)


def line(text: str = "") -> None:
    """Print one line of the result."""
    stdout.print(safe.one_line(text), markup=False)


def rendered(view: RenderableType) -> None:
    """Print something that fits itself to the width; its own text must be safe."""
    stdout.print(view)


def wrapped(text: str, indent: str = "") -> None:
    """Print one line of the result; on a terminal fold it between words, further lines with `indent`."""
    shown = safe.one_line(text)
    if stdout.is_terminal:
        width = max(20, stdout.size.width)
        shown = textwrap.fill(
            shown, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )
    stdout.print(shown, markup=False)


def block(text: str) -> None:
    """Print several lines of the result, such as a file or a traceback."""
    stdout.print(safe.lines(text), markup=False)


def as_json(value: object) -> None:
    """Print the result as one JSON object. NaN and infinities become null."""
    _write(json.dumps(finite(value), indent=2, default=str, allow_nan=False) + "\n")


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print comma-separated values. No spreadsheet evaluates a cell that holds text."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for row in (columns, *rows):
        writer.writerow([safe.csv_cell(cell) for cell in row])
    _write(file.getvalue())


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    title: str = "",
    *,
    to: Console = stdout,
) -> None:
    """Print a table. Columns whose name ends in "#" are numbers, aligned right."""
    shown = Table(
        box=box.SIMPLE_HEAD, title=_text(title) if title else None, title_justify="left",
        pad_edge=False,
    )  # fmt: skip
    for column in columns:
        shown.add_column(
            _text(column.removesuffix("#")),
            justify="right" if column.endswith("#") else "left",
            overflow="fold",
        )
    for row in rows:
        shown.add_row(*(_cell(value) for value in row))
    _Console(file=to.file, highlight=False, width=width(to)).print(shown)


def cut_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], *, to: Console = stdout
) -> None:
    """Print a table with one line per row, which the screen's edge cuts. "#" is as in `table`."""
    cells = [[_text(column.removesuffix("#")) for column in columns]]
    cells += [[_cell(value) for value in row] for row in rows]
    widths = [max(cell.cell_len for cell in column) for column in zip(*cells, strict=True)]
    for number, row in enumerate(cells):
        for column, cell, width_ in zip(columns, row, widths, strict=True):
            cell.align("right" if column.endswith("#") else "left", width_)
        line = Text("  ").join(row)
        line.rstrip()
        line.truncate(width(to), overflow="ellipsis")
        line.stylize("bold" if number == 0 else "")
        to.print(line)


def width(console: Console = stdout) -> int:
    """Return the columns of the terminal; of a pipe those of $COLUMNS, else 160."""
    if console.is_terminal:
        return console.size.width
    given = os.environ.get("COLUMNS", "")
    return int(given) if given.isdecimal() and int(given) >= 20 else 160


def _cell(value: object) -> Text:
    if value is None:
        return _text("-")
    if isinstance(value, int) and not isinstance(value, bool):
        return Text(str(value))
    return _text(f"{value:.4f}" if isinstance(value, float) else str(value))


def _text(text: str) -> Text:
    # not a string: rich would replace ":name:" by an emoji
    return Text(safe.one_line(text))


def _write(text: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # flush meets it again
        sys.stdout.write(text)
    flush()


def short_params(params: dict[str, Any]) -> str:
    """Return parameters in one line, numbers with three digits."""
    return " ".join(
        f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in params.items()
    )
