"""The README is short and true: its commands exist, its tree is the tree, its tables are the results'."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from benchmarks.readme import course, filled, pages
from bloodsearch.search.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GROUP: Any = typer.main.get_command(app)


def shell_lines(text: str = README) -> list[str]:
    """Return the lines of all sh blocks, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    lines = [line.split(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def all_shell_lines() -> list[str]:
    texts = [page.read_text(encoding="utf-8") for page in pages()]
    return list(dict.fromkeys(line for text in texts for line in shell_lines(text)))


def parse(args: list[str]) -> None:
    """Parse a command line as the program would, without running it."""
    command = GROUP
    while args and hasattr(command, "commands") and not args[0].startswith("-"):
        if args[0] not in command.commands:
            raise typer.BadParameter(f"no command {args[0]}")
        command, args = command.commands[args[0]], args[1:]
    command.make_context("bloodsearch", list(args))


@pytest.mark.parametrize("line", all_shell_lines())
def test_command_parses(line: str) -> None:
    words = shlex.split(line.removeprefix(".venv/bin/"))
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    if words[0] == "bloodsearch":
        if not {"--help", "--install-completion"} & set(words):  # these act while they are parsed
            parse(words[1:])
    elif words[0] == "make":
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    else:
        assert words[0] in (
            "git",
            "cd",
            "export",
            "optuna",
            "optuna-dashboard",
            "docker",
            "kubectl",
            "sbatch",
            "python3",
            "pip",
            "pytest",
            "ruff",
            "mypy",
        )


def test_a_wrong_option_would_be_noticed() -> None:
    with pytest.raises(typer.TyperException):
        parse(["optimize", "--no-such-option"])
    with pytest.raises(typer.TyperException):
        parse(["no-such-command"])


def test_every_command_has_help() -> None:
    for name, command in GROUP.commands.items():
        assert command.help, name


def test_the_readme_is_short() -> None:
    lines = README.splitlines()
    assert len(lines) <= 200
    assert max(len(line) for line in lines if not line.startswith("|")) <= 180


def test_ci_runs_the_readmes_test_command() -> None:
    assert "make test" in shell_lines()
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("make test")


def test_the_tree_in_the_readme_is_the_tree() -> None:
    """Each folder and file that the tree names exists; each folder of the source is named."""
    block = README.split("<!-- tree -->")[1]
    folders = re.findall(r"^( *)([\w-]+)/\s", block, flags=re.MULTILINE)
    named: list[str] = []
    parent = ""
    for indent, name in folders:
        parent = parent if indent else name
        named.append(f"{parent}/{name}" if indent else name)
    assert all((ROOT / name).is_dir() for name in named)
    sources = [p.parent for d in ("search", "models", "studies") for p in (ROOT / d).rglob("*.py")]
    assert {str(path.relative_to(ROOT)) for path in sources} <= {*named}
    files = {path.name for path in (ROOT / "search").glob("*.py")} - {"__init__.py"}
    assert files == set(re.findall(r"\b([\w]+\.py)\b", block))


def test_a_course_report_in_short(tmp_path: Path) -> None:
    tables = tmp_path / "docs" / "mine" / "tables"
    tables.mkdir(parents=True)
    (tables / "configurations.csv").write_text(
        'configuration,n,"test F1, mean",sd,published,difference,"best epoch, mean"\n'
        "A-sgd-0.1,3,0.91239,0.01,0.9,1.2e-05,4.0\nA-mlp-64,3,0.8,0.01,,,5.0\n"
    )
    (tables / "claims.csv").write_text(
        "claim,in,compared,estimate,95 % interval,n,published,verdict,replicates to tell\n"
        "up,4,a minus b,+0.1,0 .. 1,3,,holds,\n"
    )
    assert course("mine", tmp_path / "docs") == (
        "\n| configuration | n | test F1, mean | sd | published | difference |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| A-sgd-0.1 | 3 | 0.9124 | 0.0100 | 0.9000 | 0.0000 |\n"
        "\n| claim | estimate | 95 % interval | n | published | verdict |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| up | +0.1 | 0 .. 1 | 3 |  | holds |\n\n"
    )


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_tables_are_those_of_the_committed_results(page: Path) -> None:
    """`python -m benchmarks readme` writes them; no figure is typed by hand."""
    assert page.read_text() == filled(page.read_text())
