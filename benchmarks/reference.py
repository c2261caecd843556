"""Write docs/reference/ from the program itself: every command, study-file key and environment variable.

    python -m benchmarks.reference

A test compares the pages with what this module writes.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer

from bloodsearch.search import env
from bloodsearch.search.cli import app
from bloodsearch.studies import PARAMETERS
from bloodsearch.studies.schema import StudyFile
from bloodsearch.studies.sections import (
    Baseline,
    Ladder,
    Minutes,
    Pruner,
    Range,
    Rung,
    Search,
    Training,
)

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
_NOTE = "<!-- Written by `python -m benchmarks.reference`. Do not edit this page. -->\n"
_SKIPPED = {"--help", "--debug"}


def pages() -> dict[str, str]:
    """Return the text of each page by its file name."""
    return {
        "commands.md": _commands(),
        "study-files.md": _study_files(),
        "environment.md": _environment(),
    }


def main() -> None:
    """Write the pages that have changed."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        path = FOLDER / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote docs/reference/{name}")


def commands() -> Iterator[tuple[str, Any]]:
    """Yield each visible command with its full name: "optimize", "data fetch"."""
    yield from _walk("", typer.main.get_command(app))


def _walk(prefix: str, group: Any) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        full = f"{prefix}{name}"
        yield full, command
        if hasattr(command, "commands"):
            yield from _walk(f"{full} ", command)


def _commands() -> str:
    parts = [
        _NOTE,
        "# Commands\n",
        "Every command takes `--help` and `--debug`. A password in a URL is hidden in all output.\n",
        "| exit code | meaning |\n| --- | --- |",
        "| 0 | done |",
        "| 1 | an unexpected error; `--debug` shows the traceback |",
        "| 2 | wrong usage or a bad study file |",
        "| 3 | data missing or unusable |",
        "| 4 | storage unreachable or unusable |",
        "| 5 | refused: the test split was already opened, the data or the search space differ |",
        "| 130 | interrupted; run the same command again to resume |\n",
    ]
    parts += [_command(name, command) for name, command in commands()]
    return "\n".join(parts)


def _command(name: str, command: Any) -> str:
    context = command.make_context(name, [], resilient_parsing=True)
    usage = " ".join(["bloodsearch", name, *command.collect_usage_pieces(context)])
    text = " ".join((command.help or "").split("\f")[0].split())
    lines = [f"## bloodsearch {name}\n", f"```text\n{usage}\n```\n", f"{text}\n"]
    records = [_record(p, context) for p in command.params if not _SKIPPED & set(p.opts)]
    if records:
        lines.append(_table(["argument or option", "meaning"], records))
    return "\n".join(lines)


def _record(parameter: Any, context: Any) -> list[str]:
    """Return the row of `--help` for one argument or option."""
    if parameter.param_type_name == "argument":
        return [f"`{parameter.metavar or parameter.name.upper()}`", parameter.help or ""]
    name, meaning = parameter.get_help_record(context)
    return [f"`{name}`", " ".join(meaning.split())]


def _study_files() -> str:
    sections: list[tuple[str, str, type[Any]]] = [
        ("[search]", "How the next trial is chosen.", Search),
        ("[training]", "How long a trial and a final training last.", Training),
        ("[pruner]", "When a trial is stopped early.", Pruner),
        (
            "[ladder]",
            "How the best trials go on to longer trainings. Not part of the study's identity.",
            Ladder,
        ),
        (
            "[minutes]",
            "What `optimize --minutes` changes. Not part of the study's identity.",
            Minutes,
        ),
        ("[[ladder.rungs]]", "A rung between the search and the final trainings.", Rung),
        (
            "[space] ranges",
            "An entry of `[space]` is a list of choices, one fixed value or a range.",
            Range,
        ),
        (
            "[[baselines]]",
            "Named configurations that are trained before the first searched trial.",
            Baseline,
        ),
    ]
    top = [row for row in _fields(StudyFile) if row[0] in ("`name`", "`description`")]
    parts = [
        _NOTE,
        "# Study files\n",
        "A study file is TOML. `bloodsearch studies new FILE` writes a commented one to edit.\n",
        "Where a key takes epochs by family, it takes one number or a table: `{ cnn = 5, mlp = 10 }`.\n",
        "## Top level\n",
        _table(["key", "takes", "default", "meaning"], top),
    ]
    for title, sentence, model in sections:
        table = _table(["key", "takes", "default", "meaning"], list(_fields(model)))
        parts.append(f"## {title}\n\n{sentence}\n\n{table}")
    rows = [
        [
            f"`{name}`",
            parameter.allowed(),
            "" if parameter.default is None else f"`{parameter.default}`",
            " and ".join(f"`{k}` is {' or '.join(map(str, v))}" for k, v in parameter.when.items()),
            parameter.help,
        ]
        for name, parameter in PARAMETERS.items()
    ]
    header = ["parameter", "takes", "default", "exists when", "meaning"]
    text = (
        "A parameter without a default must be in `[space]`, if it exists there. "
        "`epochs` and `patience` are the exceptions.\n"
    )
    parts.append(f"## Parameters of [space]\n\n{text}\n{_table(header, rows)}")
    return "\n".join(parts)


def _fields(model: type[Any]) -> Iterator[list[str]]:
    docs = _docs_under_fields(model)
    for name, field in model.model_fields.items():
        default = (
            ""
            if field.is_required()
            else f"`{_shown(field.get_default(call_default_factory=True))}`"
        )
        yield [f"`{name}`", _takes(model, name), default, docs.get(name, "")]


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return {None: "none", "": '""'}.get(value, str(value)) if not isinstance(value, dict) else "{}"


def _takes(model: type[Any], name: str) -> str:
    schema = model.model_json_schema()
    return _describe(schema["properties"][name])


def _describe(schema: dict[str, Any]) -> str:
    """Describe a JSON schema in words: "an integer in 1 .. 10000", "tpe or random"."""
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return " or ".join(
            dict.fromkeys(_describe(option) for option in options if option.get("type") != "null")
        )
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type")
    if kind in ("integer", "number"):
        noun = "an integer" if kind == "integer" else "a number"
        low, high = schema.get("minimum"), schema.get("maximum")
        if low is not None and high is not None:
            return f"{noun} in {low:g} .. {high}"
        above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        bounds = [
            f"from {low:g}" if low is not None else "",
            f"up to {high:g}" if high is not None else "",
        ]
        bounds += [
            f"above {above:g}" if above is not None else "",
            f"below {below:g}" if below is not None else "",
        ]
        return " ".join([noun, " and ".join(filter(None, bounds))]).strip()
    return {
        "string": "text",
        "boolean": "true or false",
        "array": "a list",
        "object": "a table",
    }.get(str(kind), "any value")


def _docs_under_fields(model: type[Any]) -> dict[str, str]:
    """Return the strings that stand under a class's fields, by field."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(model)))
    (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
    docs = {}
    for before, node in pairwise(body):
        if (
            isinstance(before, ast.AnnAssign)
            and isinstance(before.target, ast.Name)
            and isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
        ):
            docs[before.target.id] = " ".join(str(node.value.value).split())
    return docs


def _environment() -> str:
    tree = ast.parse(Path(env.__file__).read_text(encoding="utf-8"))
    rows = []
    for before, node in pairwise(tree.body):
        if isinstance(before, ast.Assign) and isinstance(node, ast.Expr):
            value = ast.literal_eval(before.value)
            text = " ".join(str(ast.literal_eval(node.value)).split())
            rows.append([f"`{value}`", text])
    return "\n".join(
        [
            _NOTE,
            "# Environment variables\n",
            "An option on the command line comes first, then the variable, then the default.\n",
            _table(["variable", "meaning"], rows),
        ]
    )


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    cells = [" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines]
    return "".join(f"| {line} |\n" for line in cells)


if __name__ == "__main__":
    main()
