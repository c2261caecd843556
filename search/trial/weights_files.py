"""The files with the weights of final trainings: stored relative to the database, and found when moved.

A project folder may be moved, and a database may be used on a host and in a container. So a path in the
database is only a hint: the file is looked for beside the database, too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath

import optuna
from optuna.trial import FrozenTrial

from .. import env
from ..database.storage import database_file

_FOLDER = "bloodsearch-checkpoints"


def stored_path(study: optuna.Study, path: Path) -> str:
    """Return `path` as the database stores it: relative to an SQLite database's folder if it is below it."""
    absolute, database = path.absolute(), database_file(study)
    if database is not None and absolute.is_relative_to(f"{database}.checkpoints"):
        return absolute.relative_to(database.parent).as_posix()
    return str(absolute)


def with_weights(study: optuna.Study, trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials of `study`, with the absolute path of each weights file that is on this machine."""
    return [_located(study, trial) for trial in trials]


def places(study: optuna.Study) -> list[Path]:
    """Return the folders in which the weights of `study` may be, for messages."""
    return list(dict.fromkeys(folder / study.study_name for folder in _folders(study)))


def _located(study: optuna.Study, trial: FrozenTrial) -> FrozenTrial:
    stored = trial.user_attrs.get("weights")
    if not isinstance(stored, str) or not stored:
        return trial
    path = next((path for path in _candidates(study, PurePath(stored)) if path.is_file()), None)
    if path is None or str(path) == stored:
        return trial
    located = copy.copy(trial)
    located.user_attrs = trial.user_attrs | {"weights": str(path)}
    return located


def _candidates(study: optuna.Study, stored: PurePath) -> Iterator[Path]:
    database = database_file(study)
    if database is not None:
        # ... X.db.checkpoints/STUDY/trial-N.weights.pt, also of a database that was renamed
        yield database.parent / PurePath(*stored.parts[-3:])
    for folder in _folders(study):
        yield folder / PurePath(*stored.parts[-2:])
    if stored.is_absolute():
        yield Path(stored)


def _folders(study: optuna.Study) -> Iterator[Path]:
    if configured := env.checkpoints():
        yield configured.absolute()
    database = database_file(study)
    yield Path(_FOLDER).absolute() if database is None else Path(f"{database}.checkpoints")
