"""Options that several commands share, and how they find a study."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...studies import load_study_file, shipped_names
from .. import env, study_names
from ..errors import StorageError
from .output import message

if TYPE_CHECKING:
    import optuna

    from ...studies import StudyFile
    from ..database.storage import Storage

DEFAULT_STORAGE = "sqlite:///bloodsearch.db"


class DatasetChoice(StrEnum):
    bloodmnist = "bloodmnist"
    synthetic = "synthetic"


StudyArgument = Annotated[
    str, typer.Argument(metavar="[STUDY]", help="A study file that ships, or the path of one.")
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help=f"A database; default $BLOODSEARCH_STORAGE, else {DEFAULT_STORAGE}.",
    ),
]
NameOption = Annotated[
    str | None, typer.Option("--name", help="The study's name in the storage; default: its file's.")
]
DatasetOption = Annotated[
    DatasetChoice, typer.Option("--dataset", help="The data; synthetic needs no file.")
]
DataRootOption = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        metavar="DIR",
        readable=False,  # the loader says what is wrong with it, with the exit code for data
        help="Folder with bloodmnist.npz; default $BLOODSEARCH_DATA, else ~/.medmnist.",
    ),
]
WorkersOption = Annotated[
    str,
    typer.Option(
        "--workers", metavar="auto|N", help="Worker processes; auto: one per device slot or core."
    ),
]
DevicesOption = Annotated[
    str, typer.Option("--devices", help="auto, cpu, mps, or a list like cuda:0,cuda:1.")
]
PerDeviceOption = Annotated[
    int,
    typer.Option(
        "--workers-per-device", metavar="K", min=1, max=512, help="Workers that share a device."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a key of the study file; repeatable."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]


def storage_url(given: str | None) -> str:
    """--storage, else the environment's, else a file in the current folder."""
    if given is not None:
        return given  # an empty one is a mistake, not a wish for the default
    return env.storage() or DEFAULT_STORAGE


def study_file(study: str, overrides: list[str] | None = None) -> StudyFile:
    return load_study_file(study, overrides)


def part_name(name: str, part: str) -> str:
    """The stored name of a study's part, "baselines" or "grid"."""
    return {"baselines": study_names.baselines_name, "grid": study_names.grid_name}[part](name)


def find_part(
    study: str, storage: str | None, name: str | None, part: str
) -> tuple[Storage, optuna.Study]:
    """The stored part of the study that STUDY and --name mean, or of its synthetic twin.

    Raises StorageError when there is none, with the command that makes it.
    """
    from ..database.storage import open_storage
    from ..study import default_name, load

    opened = open_storage(storage_url(storage), create=False)
    if name is not None:
        bases = [name]
    elif study in shipped_names() or study.endswith(".toml"):
        file = load_study_file(study)
        bases = [default_name(file, dataset) for dataset in ("bloodmnist", "synthetic")]
    else:
        bases = [study]
    for base in bases:
        try:
            return opened, load(opened, part_name(base, part))
        except StorageError:
            continue
    raise StorageError(
        f"no study {part_name(bases[0], part)!r} in {opened.shown}; "
        f"`bloodsearch optimize {study} --only {part}` makes it"
    )


def find_study(
    study: str, storage: str | None, name: str | None, dataset: str | None = None
) -> tuple[Storage, optuna.Study]:
    """The stored study that STUDY, --name and --dataset mean.

    Without --name it is the study file's own name; if only its synthetic twin exists, that one. A
    STUDY that names no file may be the name of a study in the storage.
    """
    from ..database.storage import open_storage
    from ..study import default_name, load

    opened = open_storage(storage_url(storage), create=False)
    if name is not None:
        return opened, load(opened, name)
    if study not in shipped_names() and not study.endswith(".toml"):
        return opened, load(opened, study)
    own = default_name(load_study_file(study), dataset or "bloodmnist")
    try:
        return opened, load(opened, own)
    except StorageError:
        twin = default_name(load_study_file(study), "synthetic")
        if dataset is not None:
            raise
        try:
            found = opened, load(opened, twin)
        except StorageError:
            found = None
        if found is None:
            raise
        message(f"showing {twin}: there is no {own} in this storage")
        return found
