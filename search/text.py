"""Make text from users, files and databases safe to print, and to put into Markdown and CSV files.

Whoever can write to a database or name a file can plant escape sequences that clear a reader's screen,
HTML that runs in a browser, or formulas that a spreadsheet evaluates.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_FORMULA_STARTS: tuple[str, ...] = (
    "=",
    "+",
    "-",
    "@",
    "\N{FULLWIDTH EQUALS SIGN}",
    "\N{FULLWIDTH PLUS SIGN}",
)
_FORMULA_STARTS += ("\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")
_NUMBER = re.compile(r"[+-]?(\d[\d,]*\.?\d*|\.\d+)([eE][+-]?\d+)?%?|[+-]?(inf|nan)")


def one_line(text: str) -> str:
    r"""Return `text` with every character that is not printable written as an escape, such as \x1b.

    That covers line breaks, C0 and C1 control characters, bidirectional overrides and lone surrogates.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def lines(text: str) -> str:
    """Return `text` with its line breaks kept, tabs as spaces, and the rest as `one_line` writes it."""
    return "\n".join(one_line(line.replace("\t", "    ")) for line in text.splitlines())


def markdown(text: str) -> str:
    """Return one line of Markdown in which HTML, links and pictures have no effect.

    Emphasis, tables and code between backticks stay. `<` is escaped within code as well, because
    planted backticks decide where a browser sees code.
    """
    return one_line(text).replace("<", "&lt;").replace("](", "]\\(")


def csv_cell(value: object) -> object:
    """Return `value` as a CSV cell: numbers and None unchanged, text that no spreadsheet evaluates.

    Text that starts as a formula does gets a leading apostrophe, unless it is a number.
    """
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = str(value)
    shown = one_line(text)
    starts_formula = text.lstrip(" \t\r\n").startswith(_FORMULA_STARTS) and len(text) > 1
    return f"'{shown}" if starts_formula and not _NUMBER.fullmatch(text) else shown


def duration(seconds: float) -> str:
    """Return seconds as "12.3 s", "4 min 05 s" or "2 h 03 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def sparkline(values: Sequence[float], low: float, high: float, *, unicode: bool = True) -> str:
    """Return one character per value: the lowest up to `low`, the highest from `high` on."""
    blocks = "▁▂▃▄▅▆▇█" if unicode else "_.-~=+*#"
    last, span = len(blocks) - 1, high - low or 1.0
    levels = (round((value - low) / span * last) for value in values)
    return "".join(blocks[min(last, max(0, level))] for level in levels)
