"""The tables of README.md and docs/, written from the committed results: no figure is typed by hand.

    python -m benchmarks readme

A page names a result between `<!-- bench NAME -->` and `<!-- /bench -->`; what stands between is replaced.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"(<!-- bench (\w+) -->\n).*?(<!-- /bench -->)", re.DOTALL)


def pages() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def filled(text: str) -> str:
    """`text` with each block's tables as its result has them."""
    return _BLOCK.sub(lambda found: found[1] + rendered(found[2]) + found[3], text)


def rendered(name: str) -> str:
    """The tables of one result in Markdown, with the command and the machine."""
    kept = json.loads((RESULTS / f"{name}.json").read_text())
    machine = kept["machine"]
    where = f"{machine['cores']} cores of {machine['processor']}, {machine['date']}"
    source = f"`python -m benchmarks {name}`, {where}"
    return "\n".join(_table(found) for found in kept["tables"]) + f"\n{source}\n\n"


def _table(found: dict[str, Any]) -> str:
    lines = [found["columns"], ["---"] * len(found["columns"]), *found["rows"]]
    body = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    return f"\n{found['title']}:\n\n{body}\n"


def run() -> None:
    for page in pages():
        old = page.read_text()
        if (new := filled(old)) != old:
            page.write_text(new)
            print(f"wrote {page.relative_to(ROOT)}")
