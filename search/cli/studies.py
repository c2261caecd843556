"""`bloodsearch studies`: list the shipped study files, print one, write a new one to edit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...studies import (
    DEFAULT_STUDY,
    PARAMETERS,
    StudyFile,
    load_study_file,
    shipped_names,
    shipped_text,
    study_text,
)
from ..errors import UsageError
from . import output
from .debug import with_debug
from .options import JsonOption
from .suggest import command

app = typer.Typer(
    help="List the shipped study files, print one, write a new one.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@app.callback()
@with_debug
def list_studies(context: typer.Context, json: JsonOption = False) -> None:
    """List the shipped study files with their purpose."""
    if context.invoked_subcommand is not None:
        return
    files = [(name, load_study_file(name)) for name in shipped_names()]
    if json:
        rows = [
            {"name": n, "description": f.description, "space_hash": f.space_hash()}
            for n, f in files
        ]
        output.as_json({"studies": rows})
        return
    output.table(
        ["study", "purpose", "sampler", "epochs#", "baselines#"],
        [(n, f.description, f.search.sampler, _epochs(f), len(f.baselines)) for n, f in files],
    )


def _epochs(file: StudyFile) -> str:
    epochs = file.training.epochs
    if isinstance(epochs, int):
        return str(epochs)
    return ", ".join(f"{family} {n}" for family, n in epochs.items())


@app.command()
@with_debug
def show(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A shipped study file, or the path of one.")
    ],
    parameters: Annotated[
        bool, typer.Option("--parameters", help="Explain every parameter a space can have.")
    ] = False,
) -> None:
    """Print a study file."""
    load_study_file(study)  # prints study files only, whatever the path
    output.block(study_text(study))
    if parameters:
        output.line()
        output.table(
            ["parameter", "takes", "default", "exists when", "meaning"],
            [
                (
                    key,
                    parameter.allowed(),
                    parameter.default,
                    " and ".join(
                        f"{k} = {' or '.join(map(str, v))}" for k, v in parameter.when.items()
                    ),
                    parameter.help,
                )
                for key, parameter in PARAMETERS.items()
            ],
        )


@app.command()
@with_debug
def new(
    file: Annotated[Path, typer.Argument(help="The file to write, ending in .toml.")],
    start: Annotated[
        str, typer.Option("--from", help="The study file to start from.")
    ] = DEFAULT_STUDY,
) -> None:
    """Write a commented study file to edit. Never overwrites one."""
    if file.suffix != ".toml":
        raise UsageError(f"{file}: a study file's name ends in .toml")
    text = shipped_text(start)
    named = text.replace(f'name = "{start}"', f'name = "{_safe(file.stem)}"', 1)
    try:
        with file.open("x", encoding="utf-8") as handle:
            handle.write(_HEADER.format(run=command("optimize", file, "--trials", 20)) + named)
    except FileExistsError:
        raise UsageError(f"{file} exists; choose another name or edit that one") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be written ({error.strerror})") from None
    output.line(f"wrote {file}; run it with: {command('optimize', file, '--trials', 20)}")


_HEADER = """\
# A study file. Run it with
#   {run}
# Every entry of [space] is a list of choices, a range {{low, high, log, step}} or one fixed value;
# `bloodsearch studies show bloodmnist --parameters` explains every name. A changed space
# is a different study: give it another name.

"""


def _safe(stem: str) -> str:
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in stem)
    return kept.lstrip("._-") or "study"
