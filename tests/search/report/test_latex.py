"""Tables as LaTeX: text stays text, columns add up, and a TeX that is here compiles them."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from report_support import MakeStudy

from bloodsearch.search.database.storage import Storage
from bloodsearch.search.report.build import build
from bloodsearch.search.report.latex import escape
from bloodsearch.search.report.page import write
from bloodsearch.search.report.parts import Report, Section, Table

HOSTILE = r"\input{/etc/passwd} 50% of a_b & c$d #1 {x} ~^ <b> --set | [2] *"


def written(folder: Path, *tables: Table) -> str:
    write(Report("r", [], [Section("s", tables=tables)]), folder, light=True, latex=True)
    return (folder / "tables" / f"{tables[0].name}.tex").read_text(encoding="utf-8")


def plain(text: str) -> str:
    """What LaTeX prints of escaped text. Every command in it must be one that names a character."""
    names = {
        "backslash": "\\", "asciicircum": "^", "asciitilde": "~", "less": "<", "greater": ">", "bar": "|",
    }  # fmt: skip
    signs = r"\\text([a-z]+)\{\}|\\([{}$&#%_])|-\{\}-|\{([\[*])\}"
    assert not re.search(r"[\\{}$&#%_^~]", re.sub(signs, "", text)), text

    def printed(match: re.Match[str]) -> str:
        return names[match[1]] if match[1] else match[2] or match[3] or "--"

    return re.sub(signs, printed, text)


def test_what_would_be_a_command_is_printed() -> None:
    assert plain(escape(HOSTILE)) == HOSTILE


def test_letters_that_pdflatex_lacks_are_named() -> None:
    assert escape("Müller, Łódź") == "Müller, Łódź"
    assert escape("血 🩸") == "(U+8840) (U+1FA78)"


def test_a_table_has_its_rules_and_as_many_cells_as_columns(tmp_path: Path) -> None:
    long = "a sentence that is too long for one line"
    table = Table(
        "a_b", "Title", ["name", "n", "why"], [("x", 1, long), ("y_z", 2.5, HOSTILE)], "Note."
    )
    tex = written(tmp_path, table)
    kinds = re.search(r"\\begin\{tabular\}\{(.*)\}\n", tex)
    assert kinds is not None
    assert re.fullmatch(r"lrp\{0\.\d\d\\linewidth\}", kinds[1])
    rows = re.findall(r"^(.*) \\\\$", tex, re.MULTILINE)
    assert [len(re.split(r"(?<!\\)&", row)) for row in rows] == [3, 3, 3]
    assert re.findall(r"\\(\w+rule)", tex) == [
        "toprule",
        "midrule",
        "bottomrule",
    ]
    assert r"\label{tab:a-b}" in tex
    assert r"y\_z & 2.5000 &" in tex


def has_latex() -> bool:
    """Whether pdflatex and what the tables use are here: Debian's texlive-latex-base has no booktabs."""
    if shutil.which("pdflatex") is None or shutil.which("kpsewhich") is None:
        return False
    packages = ["booktabs.sty", "geometry.sty", "textcomp.sty"]
    return subprocess.run(["kpsewhich", *packages], capture_output=True).returncode == 0


@pytest.mark.slow
@pytest.mark.skipif(not has_latex(), reason="no pdflatex with booktabs")
def test_latex_compiles_the_tables(storage: Storage, make_study: MakeStudy, tmp_path: Path) -> None:
    report = build(storage, make_study([0.6, 0.9, None, 0.92]), None)
    planted = Table(
        "planted",
        HOSTILE,
        ["a", HOSTILE],
        [("[3] 血 Ł", HOSTILE), ("*", HOSTILE), ("`code`", None)],
    )
    report = dataclasses.replace(
        report, sections=[*report.sections, Section("planted", tables=[planted])]
    )
    write(report, tmp_path, light=True, latex=True)
    command = [
        "pdflatex",
        "-interaction=nonstopmode",
        "-halt-on-error",
        "-no-shell-escape",
        "all.tex",
    ]
    done = subprocess.run(command, cwd=tmp_path / "tables", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "tables" / "all.pdf").stat().st_size > 10_000
