"""The tables of README.md and docs/, written from the committed results: no figure is typed by hand.

    python -m benchmarks readme

A page names a result between `<!-- bench NAME -->` and `<!-- /bench -->`, a course report's page in docs/
between `<!-- course NAME -->` and `<!-- /course -->`; what stands between is replaced.
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"(<!-- (bench|course) (\w+) -->\n).*?(<!-- /\2 -->)", re.DOTALL)


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def filled(text: str) -> str:
    """`text` with each block's tables as its result has them."""
    writers = {"bench": rendered, "course": course}
    return _BLOCK.sub(lambda found: found[1] + writers[found[2]](found[3]) + found[4], text)


def rendered(name: str) -> str:
    """The tables of one result in Markdown, with the command and the machine."""
    kept = json.loads((RESULTS / f"{name}.json").read_text())
    machine = kept["machine"]
    where = f"{machine['cores']} cores of {machine['processor']}, {machine['date']}"
    source = f"`python -m benchmarks {name}`, {where}"
    return "\n".join(_table(found) for found in kept["tables"]) + f"\n{source}\n\n"


def course(name: str, docs: Path = ROOT / "docs") -> str:
    """A course report in short: ours beside the published figures, the claims with their verdicts."""
    own = [row for row in _rows(docs / name / "tables" / "configurations.csv") if row["published"]]
    columns = list(own[0])[: list(own[0]).index("difference") + 1]
    scores = [[_rounded(row[column]) for column in columns] for row in own]
    claims = _rows(docs / name / "tables" / "claims.csv")
    short = ["claim", "estimate", "95 % interval", "n", "published", "verdict"]
    verdicts = [[row[column] for column in short] for row in claims]
    return f"{_pipes(columns, scores)}{_pipes(short, verdicts)}\n"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _rounded(cell: str) -> str:
    return f"{float(cell):.4f}" if re.fullmatch(r"-?\d+\.[\de-]+", cell) else cell


def _pipes(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n" + "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def _table(found: dict[str, Any]) -> str:
    return f"\n{found['title']}:\n{_pipes(found['columns'], found['rows'])}"


def run() -> None:
    for page in pages():
        old = page.read_text()
        if (new := filled(old)) != old:
            page.write_text(new)
            print(f"wrote {page.relative_to(ROOT)}")
