"""The data set on a node: found there by its hash, or written from the driver's bytes."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from .. import env
from ..data.info import Fingerprint
from ..data.load import load_dataset
from ..data.places import file_of
from ..errors import BloodsearchError
from ..files import atomic_write


def find_data(fingerprint: Fingerprint, data_root: Path | None) -> tuple[bool, Path | None]:
    """Look for the study's data and return whether they are here, and the folder to name with --data-root.

    Looks in `data_root`, in this node's own place for data, and among the copies of `store_data`.
    """
    for root in dict.fromkeys((data_root, None, copies(fingerprint))):
        if _holds(root, fingerprint):
            return True, root
    return False, None


def store_data(fingerprint: Fingerprint, content: NDArray[np.uint8]) -> Path:
    """Write the file `content` for all workers of this node and return its folder."""
    folder = copies(fingerprint)
    path = folder / _file_name(fingerprint)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        if not path.exists():
            with atomic_write(path) as temporary:
                content.tofile(temporary)
    return folder


def read_data(fingerprint: Fingerprint, data_root: Path | None) -> NDArray[np.uint8] | None:
    """Return the data set's file as bytes, None where it is missing."""
    path = file_of(fingerprint, data_root)
    return None if path is None or not path.is_file() else np.fromfile(path, np.uint8)


def copies(fingerprint: Fingerprint) -> Path:
    """Return this node's folder for a copy of the data, named by their hash."""
    base = env.cache_folder() or Path(tempfile.gettempdir(), "bloodsearch")
    return base / "data" / fingerprint.content_hash


def _file_name(fingerprint: Fingerprint) -> str:
    path = file_of(fingerprint)
    assert path is not None, "the synthetic set has no file"
    return path.name


def _holds(root: Path | None, fingerprint: Fingerprint) -> bool:
    try:
        found = load_dataset(fingerprint, root).fingerprint
    except BloodsearchError:
        return False
    return found.content_hash == fingerprint.content_hash
