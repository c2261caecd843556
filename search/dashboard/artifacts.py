"""The folder of the dashboard's pictures and files, and what the database says about them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import env
from ..database.storage import Storage
from ..files import atomic_write
from .attributes import Artifact, artifact, artifacts


def artifact_folder(storage: Storage) -> Path:
    """Return the folder: $BLOODSEARCH_ARTIFACTS, else beside an SQLite file, else in the current folder."""
    if configured := env.artifacts():
        return configured.absolute()
    path = storage.sqlite_path
    return Path(f"{path}.artifacts") if path else Path("bloodsearch-artifacts").absolute()


def store_files(
    folder: Path,
    study: str,
    trial_id: int | None,
    files: Mapping[str, bytes],
    attrs: Mapping[str, Any],
) -> tuple[dict[str, str], list[Artifact]]:
    """Write files into the folder. Return the new attributes, and the artifacts that they replace.

    Args:
        folder: The folder of artifacts; it is created.
        study: The study's name.
        trial_id: Optuna's id of the trial that the files are about; None: they are about the study.
        files: Their contents by the names that people see.
        attrs: The study's system attributes.

    Raises OSError when the folder cannot be written.
    """
    present = artifacts(attrs, trial_id)
    new: dict[str, str] = {}
    kept = set()
    for filename, content in files.items():
        made, value = artifact(study, trial_id, filename, content)
        kept.add(made.id)
        if not (folder / made.id).is_file():
            with atomic_write(folder / made.id) as path:
                path.write_bytes(content)
        if made.key not in attrs:
            new[made.key] = value
    return new, [old for old in present if old.filename in files and old.id not in kept]


def remove_files(folder: Path, old: list[Artifact]) -> None:
    """Remove artifacts' files. One that cannot be removed does no harm."""
    for each in old:
        with contextlib.suppress(OSError):
            (folder / each.id).unlink()
