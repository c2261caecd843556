"""Write a report's tables for a paper: LaTeX with booktabs, a file for each, and a document with all.

\\usepackage{booktabs}
\\input{tables/per_class.tex}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from ..files import write_text
from ..text import one_line
from .parts import Cell, Table

LONG = 28
"""Characters from which on a text column wraps."""
MANY = 8
"""Columns from which on a table is printed small."""

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    # at the beginning of a row they would belong to the end of the row above
    "[": "{[}",
    "*": "{*}",
}


def write_latex(
    tables: Sequence[Table],
    folder: Path,
    *,
    shown: Callable[[Cell, int], str],
    numeric: Callable[[Table, int], bool],
) -> list[Path]:
    """Write NAME.tex for each table and all.tex, a document with all of them. Raises OSError.

    `shown` turns a cell into text, and `numeric` says which columns hold numbers.
    """
    written = []
    for table in tables:
        written.append(folder / f"{table.name}.tex")
        write_text(written[-1], _table(table, shown, numeric))
    body = "\n".join(rf"\input{{{path.stem}}}" for path in written)
    write_text(folder / "all.tex", _DOCUMENT.replace("BODY", body))
    return [*written, folder / "all.tex"]


def escape(text: str) -> str:
    """Return text that LaTeX prints as it is. Letters that pdfLaTeX lacks are named by their code."""
    escaped = "".join(_ESCAPES.get(c) or _known(c) for c in one_line(text))
    return escaped.replace("--", "-{}-")  # or LaTeX prints a dash


def _known(character: str) -> str:
    # letters up to U+017F are in every TeX; most others would stop it
    if character.isascii() or (character.isalpha() and ord(character) < 0x180):
        return character
    return f"(U+{ord(character):04X})"


def _text(text: str) -> str:
    """Return escaped text with what is between backticks as code."""
    parts = re.split(r"`([^`]+)`", text)
    return "".join(
        rf"\texttt{{{escape(part)}}}" if i % 2 else escape(part) for i, part in enumerate(parts)
    )


def _table(
    table: Table, shown: Callable[[Cell, int], str], numeric: Callable[[Table, int], bool]
) -> str:
    rows = [[shown(cell, table.digits) for cell in row] for row in table.rows]
    kinds = "".join(_column(table, rows, i, numeric) for i in range(len(table.columns)))
    small = [r"\footnotesize", r"\setlength{\tabcolsep}{3pt}"]
    lines = [
        r"\begin{table}",
        r"\centering",
        *(small if len(table.columns) >= MANY else [r"\small"]),
        rf"\caption{{{_text(table.title)}{'. ' + _text(table.note) if table.note else ''}}}",
        rf"\label{{tab:{table.name.replace('_', '-')}}}",
        rf"\begin{{tabular}}{{{kinds}}}",
        r"\toprule",
        _row(list(table.columns)),
        r"\midrule",
        *map(_row, rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _column(
    table: Table, rows: list[list[str]], i: int, numeric: Callable[[Table, int], bool]
) -> str:
    if numeric(table, i):
        return "r"
    long = [j for j in range(len(table.columns)) if max(len(row[j]) for row in rows) > LONG]
    if i not in long:
        return "l"
    return rf"p{{{0.8 / len(long) * (1 - 0.07 * (len(table.columns) - len(long))):.2f}\linewidth}}"


def _row(cells: list[str]) -> str:
    return " & ".join(map(_text, cells)) + r" \\"


_DOCUMENT = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage{textcomp}
\usepackage{booktabs}
\usepackage[margin=2cm]{geometry}
\begin{document}
BODY
\end{document}
"""
