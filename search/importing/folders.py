"""List pictures in folders: CLASS/*.png, or train|val|test/CLASS/*.png.

Pictures in a folder of a class folder belong to that class, so CLASS/PATIENT/*.png works, too.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import DataError
from ..images.read import SUFFIXES
from .listing import Listed, Listing, Split, check_name, shown, split_named


def list_folders(source: Path) -> Listing:
    """Return the pictures of a folder of class folders. Raises DataError for a folder of another kind."""
    listing = Listing()
    folders, files = _entries(source)
    splits = _splits(source, folders)
    listing.left_out += [path.name for path in files]
    for folder in folders:
        split = splits.get(folder)
        if split is None:
            _class(source, folder, None, listing)
            continue
        classes, loose = _entries(folder)
        listing.left_out += [_name(source, path) for path in loose]
        for class_folder in classes:
            _class(source, class_folder, split, listing)
    if not listing.pictures:
        raise DataError(_nothing(source, listing.left_out))
    _check_same_classes(source, listing)
    return listing


def _nothing(source: Path, left_out: list[str]) -> str:
    loose = [name for name in left_out if name.lower().endswith(SUFFIXES)]
    where = f"{shown(loose)} lie in no class folder" if loose else "no picture in a class folder"
    return (
        f"{source}: {where}; put the pictures of each class into a folder of its own, such as "
        f"{source.name or 'cells'}/neutrophil/1.png, or name them in a CSV file"
    )


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders and the files in a folder, without hidden ones, in the order of their names."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read ({error.strerror})") from None
    folders: list[Path] = []
    files: list[Path] = []
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_symlink() and os.path.isdir(entry.path):
            raise DataError(
                f"{folder / entry.name} is a link to a folder; links to folders are not followed: put the "
                "folder itself there, or name its pictures in a CSV file"
            )
        check_name(entry.name, repr(entry.name), str(folder))
        (folders if entry.is_dir() else files).append(folder / entry.name)
    return folders, files


def _splits(source: Path, folders: list[Path]) -> dict[Path, Split]:
    """Return which folders are splits: all or none."""
    splits = {f: split for f in folders if (split := split_named(f.name)) is not None}
    others = [folder.name for folder in folders if folder not in splits]
    if splits and others:
        raise DataError(
            f"{source} holds the split {next(iter(splits)).name} beside other folders ({shown(others)}); "
            "have only train, val and test there, or only class folders"
        )
    if len(set(splits.values())) < len(splits):
        names = ", ".join(folder.name for folder in splits)
        raise DataError(f"{source}: two folders mean the same split ({names}); keep one of them")
    return splits


def _class(source: Path, folder: Path, split: Split | None, into: Listing) -> None:
    """Add the pictures of a class folder, however deep they are."""
    waiting, n = [folder], len(into.pictures)
    while waiting:
        inner, files = _entries(waiting.pop())
        waiting += reversed(inner)
        for path in files:
            if path.suffix.lower() in SUFFIXES:
                into.pictures.append(Listed(path, _name(source, path), folder.name, None, split))
            else:
                into.left_out.append(_name(source, path))
    if len(into.pictures) == n:
        raise DataError(
            f"{folder} holds no picture; remove the folder or put pictures of its class there "
            f"({', '.join(SUFFIXES)})"
        )


def _name(source: Path, path: Path) -> str:
    return path.relative_to(source).as_posix()


def _check_same_classes(source: Path, listing: Listing) -> None:
    """Raise DataError if a split lacks a class folder that another split has."""
    classes = {s: {p.label for p in listing.pictures if p.split == s} for s in listing.given}
    every = set().union(*classes.values())
    for split in sorted(classes):
        missing = sorted(every - classes[split])
        if missing:
            raise DataError(
                f"{source / split} has no folder {missing[0]}, which another split has; give all splits the "
                "same class folders"
            )
