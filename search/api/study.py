"""Find a stored study, and look at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from ...studies import (
    DEFAULT_STUDY,
    Overrides,
    StudyFile,
    load_study_file,
    shipped_names,
    study_from_dict,
)
from .. import study_names
from ..data import registry
from ..data.places import is_path
from ..database.storage import Storage, open_storage
from ..env import storage_url
from ..errors import StorageError
from ..evaluation import leaderboard
from ..evaluation.selection import find_trial
from ..study import default_name, load
from ..suggest import command
from .arguments import whole
from .events import Notice, OnProgress, ignore

StudySource = str | Path | Mapping[str, Any] | StudyFile
"""A shipped study's name, the path of a study file, a dictionary with a study file's keys, or a StudyFile."""


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """A study in a storage."""

    storage: Storage
    study: optuna.Study
    """The study as Optuna sees it; anything that reads Optuna's studies can use it."""

    @property
    def name(self) -> str:
        """Return the study's name in the storage."""
        return self.study.study_name

    def summary(self) -> dict[str, Any]:
        """Return counts by state, the budget and the best trial, as `bloodsearch status --json` does."""
        from ..summary import summarize

        return summarize(self.storage, self.study)

    def leaderboard(self, top: int | None = None) -> list[leaderboard.Standing]:
        """Return finished trials, best first: complete ones by value, then pruned ones."""
        return leaderboard.leaderboard(self.study, whole("top", top))

    def trial(self, number: int) -> FrozenTrial:
        """Return one trial. Raises UsageError if the study has no such trial."""
        return find_trial(self.study, number)

    def close(self) -> None:
        """Close the connections to the storage."""
        self.storage.close()


def study_file(source: StudySource, overrides: Overrides | None = None) -> StudyFile:
    """Return the study of a name, a path or a dictionary, with overrides applied.

    Raises StudyFileError, which names the key and the values allowed.
    """
    if isinstance(source, StudyFile):
        source = source.model_dump(mode="json")
    if isinstance(source, Mapping):
        return study_from_dict(source, overrides)
    return load_study_file(str(source), overrides)


def load_study(
    study: str | Path | None = None,
    *,
    storage: str | None = None,
    name: str | None = None,
    dataset: str | None = None,
    on_progress: OnProgress = ignore,
) -> StoredStudy:
    """Load a stored study.

    Args:
        study: A shipped study's name, a study file's path, or a study's name in the storage.
        storage: The storage's URL; default $BLOODSEARCH_STORAGE, else a file in the current folder.
        name: The study's name in the storage; default: the study file's.
        dataset: The data set; default: the study file's own, or the synthetic one if only that is stored.
        on_progress: Receives a notice when the synthetic study is shown because it is the only one.

    Raises StorageError if the storage or the study does not exist.
    """
    if dataset is not None and not is_path(dataset):
        registry.registered(dataset)  # an unknown name is a mistake, not a missing study
    opened = open_storage(storage_url(storage), create=False)
    source = DEFAULT_STUDY if study is None else str(study)
    if name is not None:
        return StoredStudy(opened, load(opened, name))
    if not _names_file(source):
        return StoredStudy(opened, load(opened, source))
    file = load_study_file(source)
    own = default_name(file, dataset or file.dataset or registry.DEFAULT)
    try:
        return StoredStudy(opened, load(opened, own))
    except StorageError as missing:
        twin = default_name(file, registry.SYNTHETIC)
        if dataset is not None or twin not in optuna.get_all_study_names(opened.optuna):
            raise missing
    on_progress(Notice(f"the study {twin}, because this storage has no study {own}"))
    return StoredStudy(opened, load(opened, twin))


def load_part(
    study: str | Path | None, part: str, *, storage: str | None, name: str | None
) -> StoredStudy:
    """Load the "baselines" or "grid" part of a study, or of its synthetic twin.

    Raises StorageError, with the command that creates the part, if there is none.
    """
    opened = open_storage(storage_url(storage), create=False)
    source = DEFAULT_STUDY if study is None else str(study)
    if name is not None:
        bases = [name]
    elif _names_file(source):
        file = load_study_file(source)
        bases = [
            default_name(file, dataset)
            for dataset in (file.dataset or registry.DEFAULT, registry.SYNTHETIC)
        ]
    else:
        bases = [source]
    stored = optuna.get_all_study_names(opened.optuna)
    for base in bases:
        if part_name(base, part) in stored:
            return StoredStudy(opened, load(opened, part_name(base, part)))
    words = ["optimize"] + ([] if name in stored else [source])  # a stored study has its file
    words += ["--only", part, "--storage", opened.shown]
    words += [] if name is None else ["--name", name]
    raise StorageError(
        f"no study {part_name(bases[0], part)!r} in {opened.shown}; {command(*words)} creates it"
    )


def part_name(name: str, part: str) -> str:
    """Return the stored name of a study's part, "baselines" or "grid"."""
    names = {"baselines": study_names.baselines_name, "grid": study_names.grid_name}
    return names[part](name)


def _names_file(source: str) -> bool:
    return source in shipped_names() or source.endswith(".toml")
