"""List the files that a path given to `predict` means."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UsageError
from ..images.read import SUFFIXES


@dataclass(frozen=True, slots=True)
class Sources:
    """The files to read, in the order of their names, and what is left out."""

    files: list[Path] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)
    """Files of other kinds, and folders unless they are asked for. Hidden ones are not listed."""
    unreadable: dict[Path, str] = field(default_factory=dict)
    """Folders that could not be listed, with the reason."""


def list_sources(path: Path, *, recursive: bool = False) -> Sources:
    """Return the file that `path` names, or the images in the folder that it names.

    Raises UsageError when there is none.

    Args:
        path: An image, an .npz file or a folder.
        recursive: Whether to read the folders in a folder, too. Links to folders are not followed.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"{path} cannot be read ({reason}); name an image, a folder of images or an .npz file"
        ) from None
    if stat.S_ISDIR(mode):
        return _in_folder(path, recursive)
    if not stat.S_ISREG(mode):
        raise UsageError(f"{path} is not a regular file; name an image, a folder or an .npz file")
    if path.suffix.lower() not in (*SUFFIXES, ".npz"):
        raise UsageError(f"{path}: images end in {', '.join(SUFFIXES)}, arrays in .npz")
    return Sources([path])


def _in_folder(folder: Path, recursive: bool) -> Sources:
    sources = Sources()
    _collect(folder, recursive, sources)
    if sources.unreadable and not sources.files:
        bad, reason = next(iter(sources.unreadable.items()))
        raise UsageError(f"the folder {bad} cannot be read ({reason})")
    if not sources.files:
        folders = any(os.path.isdir(path) for path in sources.left_out)
        hint = "; --recursive reads the folders in it" if folders and not recursive else ""
        raise UsageError(
            f"no image in {folder}; it should hold files ending in {', '.join(SUFFIXES)}{hint}"
        )
    return sources


def _collect(folder: Path, recursive: bool, into: Sources) -> None:
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        into.unreadable[folder] = error.strerror or type(error).__name__
        return
    for entry in ordered:
        path = folder / entry.name
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False) and recursive:
            _collect(path, recursive, into)
        elif path.suffix.lower() in SUFFIXES and not os.path.isdir(path):
            into.files.append(path)
        else:
            into.left_out.append(path)
