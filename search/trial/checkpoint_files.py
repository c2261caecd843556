"""Where this machine keeps the checkpoints of trials, and until when."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from .. import env
from ..database.storage import Storage

# a checkpoint, or what a process killed in the middle of writing one has left
_FILE = re.compile(r"trial-(\d+)\.pt|\.trial-(\d+)\.pt\..+")


def checkpoint_folder(storage: Storage) -> Path:
    """Beside an SQLite file, else in the current folder, unless the environment names one."""
    if configured := env.checkpoints():
        return configured
    path = storage.sqlite_path
    return Path(f"{path}.checkpoints") if path else Path("bloodsearch-checkpoints").absolute()


def checkpoint_path(folder: Path, study_name: str, number: int) -> Path:
    return folder / study_name / f"trial-{number}.pt"


def forget(path: Path) -> None:
    """Remove a checkpoint that nobody will go on from."""
    # none was written, or the folder is out of reach: it is in nobody's way
    with contextlib.suppress(OSError):
        path.unlink()


def leftovers(folder: Path, study_name: str) -> dict[Path, int]:
    """The study's checkpoints, and what was left of half-written ones, with their trials' numbers."""
    found: dict[Path, int] = {}
    with contextlib.suppress(OSError):
        for path in (folder / study_name).iterdir():
            if match := _FILE.fullmatch(path.name):
                found[path] = int(match[1] or match[2])
    return found
