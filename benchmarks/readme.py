"""Write the tables of README.md and docs/ from the committed results. No figure is typed by hand.

    python -m benchmarks readme

A page names a result between `<!-- bench NAME -->` and `<!-- /bench -->`, and a course report's page in docs/
between `<!-- course NAME -->` and `<!-- /course -->`. `<!-- beside bloodmnist -->` is the README's table
of what others get, `<!-- unsaid report_b -->` what is known of the choices that a report leaves unsaid. The
text between the two comments is replaced.
"""

from __future__ import annotations

import csv
import json
import re
import statistics
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS
from bloodsearch.search.data.published import published

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(r"(<!-- (bench|course|beside|unsaid) (\w+) -->\n).*?(<!-- /\2 -->)", re.DOTALL)


def pages() -> list[Path]:
    """Return the pages that a reader reads."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def filled(text: str) -> str:
    """Return `text` with the tables of each block's committed result."""
    writers = {"bench": rendered, "course": course, "beside": beside, "unsaid": unsaid}
    return _BLOCK.sub(lambda match: match[1] + writers[match[2]](match[3]) + match[4], text)


def beside(dataset: str) -> str:
    """Return the table of bloodsearch's result on `dataset` beside those of others."""
    assert dataset == "bloodmnist"
    final = _result("end_to_end")["final"]
    plain = _result("plain_optuna")
    scores = [
        _mean(final[name]["values"]) for name in ("test_macro_f1", "test_accuracy", "test_auc")
    ]
    n = str(len(final["seeds"]))
    rows = [
        ["bloodsearch: 100 trials of the default study", n, *scores],
        *_in_the_same_time(),
        [
            f"hand-written Optuna, usual loop: {len(plain['states'])} trials",
            str(len(plain["test"])),
            _mean(plain["test"]),
            "",
            "",
        ],
    ]
    rows += [
        [f"{name} (MedMNIST v2)", "3 or more", "", f"{scores['accuracy']}", f"{scores['auc']}"]
        for name, scores in published("bloodmnist").items()
    ]
    for row in _rows(ROOT / "docs" / "report_a" / "tables" / "configurations.csv"):
        if row["configuration"] == "A-cnn":
            rows.append(["report A's CNN, as published", "1", row["published"], "", ""])
            mean = f"{float(row['test macro-F1, mean']):.4f}"
            rows.append(["report A's CNN, trained by bloodsearch", row["n"], mean, "", ""])
    return _pipes(["what", "trainings", "test macro-F1", "accuracy", "AUC"], rows) + "\n"


NAMES = {
    "ours": "bloodsearch: `optimize --minutes {}`, final trainings included",
    "hand-made 5": "a network made by hand, five seeds trained for these {} minutes",
}


def _in_the_same_time() -> list[list[str]]:
    """Return rows of searches and of a network that was not searched, for each number of minutes."""
    rows = []
    for path in sorted(RESULTS.glob("whole_searches*.json")):
        runs = list(json.loads(path.read_text())["result"].values())
        for minutes in sorted({run["minutes"] for run in runs}):
            for contender, name in NAMES.items():
                group = [r for r in runs if (r["contender"], r["minutes"]) == (contender, minutes)]
                if not group:
                    continue
                values = [value for run in group for value in run["test_macro_f1"]]
                n = str(len(values))
                if contender == "ours":
                    n += f" of {len(group)} search{'es' * (len(group) > 1)}"
                rows.append([name.format(f"{minutes:g}"), n, _mean(values), "", ""])
    return rows


def _mean(values: list[float]) -> str:
    return f"{statistics.fmean(values):.4f} (sd {statistics.stdev(values):.4f})"


def _result(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())["result"]


def rendered(name: str) -> str:
    """Return the tables of one result in Markdown, for each processor, with the command and the machine."""
    paths = sorted([*RESULTS.glob(f"{name}.json"), *RESULTS.glob(f"{name}.*.json")])
    if not paths:
        raise FileNotFoundError(f"no result of the benchmark {name}")
    parts = []
    for path in paths:
        record = json.loads(path.read_text())
        if not record["tables"]:
            continue  # a benchmark that was interrupted and will go on
        machine = record["machine"]
        where = f"{machine['cores']} cores of {machine['processor']}, {machine['date']}"
        source = f"`python -m benchmarks {name}`, {where}"
        parts.append("\n".join(_table(table) for table in record["tables"]) + f"\n{source}\n\n")
    return "".join(parts)


def course(name: str, docs: Path = ROOT / "docs") -> str:
    """Return a course report in short: means beside published figures, and the claims' verdicts."""
    own = [row for row in _rows(docs / name / "tables" / "configurations.csv") if row["published"]]
    columns = list(own[0])[: list(own[0]).index("difference") + 1]
    scores = [[_rounded(row[column]) for column in columns] for row in own]
    claims = _rows(docs / name / "tables" / "claims.csv")
    short = ["claim", "estimate", "95 % interval", "n", "published", "verdict"]
    verdicts = [[row[column] for column in short] for row in claims]
    return f"{_pipes(columns, scores)}{_pipes(short, verdicts)}\n"


def unsaid(report: str) -> str:
    """Return the tables of one report's unsaid choices: on validation, and tested with the best of them."""
    start = f"report {report.removeprefix('report_').upper()}"
    parts = []
    for name in ("unsaid", "unsaid_tested"):
        record = json.loads((RESULTS / f"{name}.json").read_text())
        tables = [table for table in record["tables"] if table["title"].startswith(start)]
        machine = record["machine"]
        source = f"`python -m benchmarks.{name}`, {machine['processor']}, {machine['date']}"
        parts.append("\n".join(map(_table, tables)) + f"\n{source}\n\n")
    return "".join(parts)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _rounded(cell: str) -> str:
    return f"{float(cell):.4f}" if re.fullmatch(r"-?\d+\.[\de-]+", cell) else cell


def _pipes(columns: list[str], rows: list[list[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n" + "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def _table(table: dict[str, Any]) -> str:
    return f"\n{table['title']}:\n{_pipes(table['columns'], table['rows'])}"


def run() -> None:
    for page in pages():
        old = page.read_text()
        if (new := filled(old)) != old:
            page.write_text(new)
            print(f"wrote {page.relative_to(ROOT)}")
