"""The data sets that are known by name: those of registry.toml in four sizes, and the synthetic one."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

from ...studies.spelling import did_you_mean
from ..errors import UsageError
from .info import DatasetInfo

DEFAULT = "bloodmnist"
SYNTHETIC = "synthetic"
SIZES = (28, 64, 128, 224)
BASE_SIZE = 28
"""The size of a set whose name has no @SIZE."""
RECORD = "https://zenodo.org/records/10519652/files"
MEDMNIST = (
    "Yang, J., Shi, R., Wei, D., Liu, Z., Zhao, L., Ke, B., Pfister, H., Ni, B.: MedMNIST v2: a large-scale "
    "lightweight benchmark for 2D and 3D biomedical image classification. Scientific Data 10, 41 (2023)"
)


@dataclass(frozen=True, slots=True)
class Official:
    """The official file of a set."""

    file_name: str
    md5: str

    @property
    def url(self) -> str:
        return f"{RECORD}/{self.file_name}?download=1"


@functools.cache
def _tables() -> dict[str, dict[str, Any]]:
    file = resources.files("bloodsearch.search.data").joinpath("registry.toml")
    tables: dict[str, dict[str, Any]] = tomllib.loads(file.read_text(encoding="utf-8"))
    return tables


def names() -> list[str]:
    """Return the names of all sets with an official file, without sizes."""
    return list(_tables())


def is_registered(dataset: str) -> bool:
    """Return whether `dataset` names a set of the registry, perhaps with a size, or the synthetic one."""
    name, at, size = dataset.partition("@")
    return dataset == SYNTHETIC or (name in _tables() and (not at or size in map(str, SIZES)))


def registered(dataset: str) -> DatasetInfo:
    """Return what is known of the set called "dermamnist", "dermamnist@64" or "synthetic".

    Raises UsageError for any other name.
    """
    if not is_registered(dataset):
        raise UsageError(
            f"no data set {dataset[:60]!r}{did_you_mean(dataset[:60], [*names(), SYNTHETIC])}; known: "
            f"{', '.join(names())}, each also as NAME@64, NAME@128 or NAME@224, and {SYNTHETIC}; "
            "for your own data name an .npz file"
        )
    if dataset == SYNTHETIC:
        from .synthetic import INFO

        return INFO
    return _info(dataset)


def _info(dataset: str) -> DatasetInfo:
    name, _, size = dataset.partition("@")
    table = {key: value for key, value in _tables()[name].items() if key != "md5"}
    table["citations"] = (*table.get("citations", ()), MEDMNIST)
    for key in ("classes", "short"):
        table[key] = tuple(table.get(key, ()))
    # size 28 has two names, and a study should have one
    own = name if size in ("", str(BASE_SIZE)) else dataset
    return DatasetInfo(name=own, size=int(size or BASE_SIZE), **table)


def official(dataset: str) -> Official:
    """Return the official file of a registered set. Raises UsageError for one that has none."""
    info = registered(dataset)
    if dataset == SYNTHETIC:
        raise UsageError("the synthetic set has no file; it is drawn when it is needed")
    name = dataset.partition("@")[0]
    suffix = "" if info.size == BASE_SIZE else f"_{info.size}"
    return Official(f"{name}{suffix}.npz", _tables()[name]["md5"][str(info.size)])


def of_file(file_name: str) -> str | None:
    """Return the name of the set whose official file is called `file_name`, None for any other file."""
    stem = file_name.removesuffix(".npz")
    name, _, size = stem.partition("_")
    dataset = f"{name}@{size}" if size else name
    if stem == file_name or not is_registered(dataset) or dataset == SYNTHETIC:
        return None
    return dataset if official(dataset).file_name == file_name else None
