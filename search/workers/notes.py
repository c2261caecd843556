"""Notes of workers that ended in order while the database was away.

Such a worker stays registered and keeps its trial. Later its process is gone, as after a crash, and only
the note tells the two apart. It lies beside the trial's checkpoint, where the trial can be resumed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from ..database.storage import Storage
from ..trial.checkpoint_files import checkpoint_folder, forget

_PREFIX = "left-"


def leave_note(storage: Storage, study_name: str, worker_id: str) -> None:
    """Say that the worker ends in order. Raises OSError."""
    path = _path(storage, study_name, worker_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def has_note(storage: Storage, study_name: str, worker_id: str) -> bool:
    """Return whether the worker ended in order. False if its folder cannot be read."""
    return os.path.exists(_path(storage, study_name, worker_id))


def noted(storage: Storage, study_name: str) -> set[str]:
    """Return the ids of the workers that left a note; none if their folder cannot be read."""
    with contextlib.suppress(OSError):
        paths = _path(storage, study_name, "").parent.glob(f"{_PREFIX}*")
        return {path.name.removeprefix(_PREFIX) for path in paths}
    return set()


def remove_notes(storage: Storage, study_name: str, worker_ids: Iterable[str]) -> None:
    """Remove the notes of these workers."""
    for worker_id in worker_ids:
        forget(_path(storage, study_name, worker_id))


def _path(storage: Storage, study_name: str, worker_id: str) -> Path:
    return checkpoint_folder(storage) / study_name / f"{_PREFIX}{worker_id}"
