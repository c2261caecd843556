"""Check what the caller asked for, before a picture is read."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from ..errors import DataError, UsageError
from ..images.preparation import CROPS, Crop
from .folders import list_folders
from .listing import MAX_NAME, SPLITS, Listing, Split
from .table import list_table

MIN_SIDE, MAX_SIDE = 8, 512
MAX_LICENSE = 2000
TABLES = (".csv", ".tsv", ".txt")


def side_of(size: int) -> int:
    """Return the height and width of an image. Raises UsageError."""
    if isinstance(size, bool) or not MIN_SIDE <= size <= MAX_SIDE:
        raise UsageError(f"--size {size}: choose {MIN_SIDE} to {MAX_SIDE} pixels")
    return size


def crop_of(crop: str | int) -> Crop:
    """Return "square", "whole" or a number of pixels. Raises UsageError."""
    for word in CROPS:
        if crop == word:
            return word
    if str(crop).isdecimal() and 1 <= int(str(crop)[:9]) <= 100_000:
        return int(crop)
    raise UsageError(f"--crop {crop}: write {', '.join(CROPS)} or a number of pixels")


def channels_asked(channels: int | None) -> int | None:
    """Return the channels. Raises UsageError for a number other than 1 and 3."""
    if channels not in (None, 1, 3):
        raise UsageError(f"--channels {channels}: write 1 for gray or 3 for RGB")
    return channels


def fractions_of(splits: str) -> dict[Split, float]:
    """Return the parts of "70/10/20". Raises UsageError."""
    cells = splits.split("/")
    parts = [int(cell[:9]) for cell in cells if cell.isdecimal()]
    if (
        len(parts) != len(SPLITS)
        or len(cells) != len(SPLITS)
        or min(parts) < 1
        or sum(parts) != 100
    ):
        raise UsageError(
            f"--splits {splits}: write three percentages that sum to 100, such as 70/10/20"
        )
    return {split: part / 100 for split, part in zip(SPLITS, parts, strict=True)}


def license_of(text: str) -> str:
    """Return the licence. Raises UsageError for one that cannot be shown."""
    if not (text == "" or (text.isprintable() and len(text) <= MAX_LICENSE)):
        raise UsageError(f"--license: write one line of at most {MAX_LICENSE:,} letters")
    return text


def title_of(title: str) -> str:
    """Return the title. Raises UsageError for one that cannot be shown."""
    if not (title.strip() and title.isprintable() and len(title) <= MAX_NAME):
        raise UsageError(f"the title {title[:MAX_NAME]!r} cannot be shown; choose one with --title")
    return title


def check_out(out: Path, *, force: bool) -> None:
    """Raise UsageError unless a file can be made at `out`."""
    if out.suffix != ".npz":
        raise UsageError(f"--out {out}: the name of a data set ends in .npz")
    try:
        exists = os.path.lexists(out)
    except ValueError as error:
        raise UsageError(f"--out {out} is no path ({error})") from None
    if exists and not force:
        raise UsageError(f"{out} exists; choose another name, or replace it with --force")


def listed(source: Path, images: Path | None) -> Listing:
    """Return the pictures that a folder or a CSV file names."""
    try:
        is_folder, is_file = source.is_dir(), source.is_file()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise DataError(f"{source} cannot be read ({reason})") from None
    if is_folder:
        if images is not None:
            raise UsageError("--images belongs to a CSV file; leave it out for a folder")
        return list_folders(source)
    if not is_file:
        what = "is not a file or a folder" if os.path.lexists(source) else "does not exist"
        raise DataError(f"{source} {what}; name a folder of class folders, or a CSV file")
    if source.suffix.lower() == ".npz":
        raise DataError(f"{source} is a data set already; use it with --dataset {source}")
    if source.suffix.lower() not in TABLES:
        raise DataError(
            f"{source} is neither a folder nor a CSV file; name a folder of class folders, or a file that "
            "ends in .csv"
        )
    return list_table(source, images)


def set_groups(listing: Listing, pattern: str | None) -> None:
    """Give each picture the group that `pattern` finds in its name: the first (...), else all of the match.

    Raises UsageError for a pattern that is not a regular expression, DataError for a name without a match.
    """
    if pattern is None:
        return
    if any(picture.group is not None for picture in listing.pictures):
        raise UsageError("the table has a column group; leave --group-pattern out")
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"--group-pattern {pattern}: not a regular expression ({error})") from None
    for i, picture in enumerate(listing.pictures):
        match = compiled.search(picture.name)
        group = match and next((part for part in match.groups() if part is not None), match[0])
        if not group:
            raise DataError(
                f"{picture.name}: --group-pattern {pattern} finds no group in this name; it should match "
                "every picture"
            )
        listing.pictures[i] = replace(picture, group=group)
