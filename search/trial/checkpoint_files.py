"""The folder for checkpoints of trials, and what may be removed from it."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

import optuna

from .. import env
from ..database.storage import Storage

PART_S = 3600.0
"""No checkpoint takes this long to write."""
# a checkpoint, or a half-written one of an earlier version
_FILE = re.compile(r"trial-(\d+)\.pt|\.trial-(\d+)\.pt\..+")


def checkpoint_folder(storage: Storage) -> Path:
    """Return the folder: $BLOODSEARCH_CHECKPOINTS, else beside an SQLite file, else in the current folder."""
    if configured := env.checkpoints():
        return configured
    path = storage.sqlite_path
    return Path(f"{path}.checkpoints") if path else Path("bloodsearch-checkpoints").absolute()


def checkpoint_path(folder: Path, study_name: str, number: int) -> Path:
    """Return where the checkpoint of a trial is stored."""
    return folder / study_name / f"trial-{number}.pt"


def forget(path: Path) -> None:
    """Remove a checkpoint that no worker needs. A file that cannot be removed does no harm."""
    with contextlib.suppress(OSError):
        path.unlink()


def leftovers(folder: Path, study_name: str) -> dict[Path, int]:
    """Return the study's checkpoints, whole or half-written, with their trials' numbers."""
    numbers: dict[Path, int] = {}
    with contextlib.suppress(OSError):
        for path in (folder / study_name).iterdir():
            if match := _FILE.fullmatch(path.name):
                numbers[path] = int(match[1] or match[2])
    return numbers


def remove_leftovers(storage: Storage, study: optuna.Study) -> None:
    """Remove the checkpoints of finished trials, and half-written ones, that dead workers left."""
    folder = checkpoint_folder(storage)
    remove_old_parts(folder, study.study_name)
    numbers = leftovers(folder, study.study_name)
    if not numbers:
        return
    try:
        trials = study.get_trials(deepcopy=False)
    except KeyError:  # the study was deleted
        ended = set(numbers.values())
    else:
        ended = {trial.number for trial in trials if trial.state.is_finished()}
    for path, number in numbers.items():
        if number in ended:
            forget(path)


def remove_old_parts(folder: Path, study_name: str) -> None:
    """Remove half-written files that a killed process left more than PART_S seconds ago."""
    with contextlib.suppress(OSError):
        for path in (folder / study_name).glob(".part-*"):
            if time.time() - path.stat().st_mtime > PART_S:
                forget(path)
