"""Where data sets lie, and what they are called. Opens no file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .. import env
from ..errors import DataError
from . import registry
from .info import Fingerprint

Named = str | Fingerprint
"""A data set: what --dataset takes, or the data that a study was made with."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a data set lies. `name` is DatasetInfo.name."""

    name: str
    path: Path
    is_own: bool
    given: str
    """The path that the set was named by, absolute; empty if it was named by its name."""


def default_root() -> Path:
    """Return `$BLOODSEARCH_DATA`, else the folder where medmnist keeps its files.

    Raises DataError if the user has no home folder.
    """
    configured = env.data_root()
    if configured is not None:
        return configured
    try:
        return Path.home() / ".medmnist"
    except RuntimeError:  # a user without a home, as containers have
        raise DataError("no home folder to look in; name a folder with --data-root") from None


def is_path(name: str) -> bool:
    """Return whether a data set is named by its file's path and not by a registered name."""
    return name.endswith(".npz") or "/" in name


def file_of(dataset: Named, root: Path | None = None) -> Path | None:
    """Return the file of a data set, whether it exists or not; None for the synthetic set."""
    source = find(dataset, root)
    return None if source is None else source.path


def missing_data_message(path: Path) -> str:
    """Return what to do where the file of a registered set is missing."""
    dataset = registry.of_file(path.name) or registry.DEFAULT
    option = "" if dataset == registry.DEFAULT else f" --dataset {dataset}"
    return (
        f"{path.name} is not in {path.parent}; run `bloodsearch data fetch{option}`, name its folder with "
        "--data-root or BLOODSEARCH_DATA, or try the program out with --dataset synthetic"
    )


def name_of(dataset: Named) -> str:
    """Return what a data set is called; a file may be called by its path."""
    return dataset.dataset if isinstance(dataset, Fingerprint) else dataset


def given_as(dataset: Named) -> str:
    """Return what names a data set again, as in another process: its name, or the path of its file."""
    return dataset.path or dataset.dataset if isinstance(dataset, Fingerprint) else dataset


def find(dataset: Named, root: Path | None) -> Source | None:
    """Return where `dataset` lies, None for the synthetic set.

    Raises UsageError for a name that is neither registered nor a path.
    """
    name = name_of(dataset)
    if isinstance(dataset, Fingerprint):
        return _find_again(dataset, root)
    if is_path(name):
        path = Path(name)
        if not path.is_absolute() and root is not None and not path.exists():
            path = root / path
        known = registry.of_file(path.name)
        return Source(known or path.name, path, known is None, str(path.absolute()))
    name = registry.registered(name).name
    if name == registry.SYNTHETIC:
        return None
    return Source(name, (root or default_root()) / registry.official(name).file_name, False, "")


def _find_again(fingerprint: Fingerprint, root: Path | None) -> Source | None:
    """Return where the data of a study lie, which may be another machine's folder by now."""
    if not fingerprint.path:
        return find(fingerprint.dataset, root)
    stored = Path(fingerprint.path)
    places = [stored] if root is None else [root / stored.name, stored]
    path = next((place for place in places if place.is_file()), places[0])
    is_own = fingerprint.provenance == "own"
    return Source(fingerprint.dataset, path, is_own, fingerprint.path)
