"""Write a report: report.html with everything inside, report.md, tables/*.csv, figures as SVG and PNG."""

from __future__ import annotations

import base64
import csv
import hashlib
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from ..files import write_text
from ..text import csv_cell, markdown
from ..text import lines as safe_lines
from . import style
from .embed import Embedded, embed, hover
from .latex import write_latex
from .parts import Cell, Report, Section, Table

MOST_NARROW = 24
"""Characters in a cell of a table that fits a narrow screen as it is."""


def write(report: Report, folder: Path, *, light: bool = False, latex: bool = False) -> list[Path]:
    """Write the report into `folder`, which exists, and return its files, the page first. Raises OSError.

    A light report lacks report.html and the PNG pictures, so that a repository can keep it. With `latex` the
    tables are there for a paper, too.
    """
    kinds = ("svg",) if light else ("svg", "png")
    figures, tables = folder / "figures", folder / "tables"
    figures.mkdir(exist_ok=True)
    tables.mkdir(exist_ok=True)
    pictures = [p for section in report.sections for p in section.pictures]
    embedded: dict[str, Embedded] = {}
    with style.styled():
        for picture in pictures:
            figure = picture.draw()
            style.save(figure, figures, picture.name, kinds)
            if not light:
                svg = (figures / f"{picture.name}.svg").read_text(encoding="utf-8")
                embedded[picture.name] = embed(picture, svg, figure, phone=report.phone)
    data = [t for section in report.sections for t in section.tables if t.rows]
    for table in data:
        _csv(table, tables / f"{table.name}.csv")
    written = [folder / "report.md"]
    if not light:
        _text(folder / "report.html", _html(report, embedded))
        written.insert(0, folder / "report.html")
    _text(folder / "report.md", _markdown(report))
    if report.card:
        _text(folder / "model-card.md", report.card)
        written.append(folder / "model-card.md")
    written += [figures / f"{p.name}.{kind}" for p in pictures for kind in kinds]
    written += [tables / f"{t.name}.csv" for t in data]
    if latex:
        written += write_latex(data, tables, shown=shown, numeric=_numeric)
    return written


def shown(cell: Cell, digits: int = 4) -> str:
    """Return a cell as people read it."""
    if cell is None:
        return "-"
    if isinstance(cell, float):
        return f"{cell:.{digits}f}" if abs(cell) < 1000 else f"{cell:,.0f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def _numeric(table: Table, column: int) -> bool:
    cells = [row[column] for row in table.rows if row[column] not in (None, "")]
    return bool(cells) and all(_is_number(cell) for cell in cells)


def layout(table: Table) -> str:
    """Return how a table fits a narrow screen: as a "matrix" of small numbers, in a "stack", or as it is."""
    n = len(table.columns)
    if n > 6 and all(_numeric(table, i) for i in range(1, n)):
        return "matrix"
    longest = max((len(shown(cell)) for row in table.rows for cell in row), default=0)
    return "stack" if n > 5 or longest > MOST_NARROW else ""


def _is_number(cell: Cell) -> bool:
    """Return whether a cell is a number, or one that was rounded to text."""
    return re.fullmatch(r"[+-]?[\d,.]+", str(cell)) is not None if isinstance(cell, str) else True


def _html(report: Report, embedded: Mapping[str, Embedded]) -> str:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["code"] = _code
    script = _part("hover.js")
    return environment.from_string(_part("page.html.jinja")).render(
        report=report,
        images=embedded,
        numeric=_numeric,
        shown=shown,
        layout=layout,
        style=Markup(_part("page.css")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        hover=hover(report.trials, embedded),
    )


def _part(name: str) -> str:
    return resources.files("bloodsearch.search.report").joinpath(name).read_text(encoding="utf-8")


def _code(text: str) -> Markup:
    """Return text between backticks as code, and all text escaped."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _markdown(report: Report) -> str:
    lines = [f"# {markdown(report.title)}", ""]
    if report.banner:
        lines += [f"**{markdown(report.banner)}**", ""]
    lines += [markdown(f"- {name}: {value}") for name, value in report.facts]
    for section in report.sections:
        lines += ["", f"## {markdown(section.title)}", "", *_section(section)]
    if report.card:
        lines += ["", "The winner's [model card](model-card.md)."]
    return "\n".join(lines) + "\n"


def _section(section: Section) -> list[str]:
    lines = [line for paragraph in section.text for line in (markdown(paragraph), "")]
    lines += [line for warning in section.warnings for line in (f"> {markdown(warning)}", "")]
    for picture in section.pictures:
        lines += [f"![{markdown(picture.title)}](figures/{picture.name}.svg)", ""]
        lines += [markdown(picture.caption), ""] if picture.caption else []
    for table in section.tables:
        if table.rows:
            lines += [f"**{markdown(table.title)}**", "", *_pipes(table), ""]
            lines += [markdown(table.note), ""] if table.note else []
    return lines[:-1] if lines and not lines[-1] else lines


def _pipes(table: Table) -> list[str]:
    rule = ["---:" if _numeric(table, i) else "---" for i in range(len(table.columns))]
    rows = [[shown(cell, table.digits) for cell in row] for row in table.rows]
    head, *body = [[_pipe(cell) for cell in row] for row in [table.columns, *rows]]
    return ["| " + " | ".join(row) + " |" for row in [head, rule, *body]]


def _pipe(cell: str) -> str:
    return markdown(cell).replace("|", "\\|")


def _csv(table: Table, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([csv_cell(cell) for cell in row] for row in (table.columns, *table.rows))


def _text(path: Path, text: str) -> None:
    write_text(path, safe_lines(text) + "\n")
