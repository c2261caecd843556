"""What cannot be trained on. Each function raises DataError with the file's name and the cure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import DataError
from .listing import SPLITS, Listed, Listing, Split, shown
from .reading import Pictures, Pixels

MAX_CLASSES = 256
"""Labels are bytes."""
MIN_PICTURES = 2
"""Of a split."""


def check_classes(source: Path, listing: Listing) -> tuple[str, ...]:
    """Return the names of the classes in their order: numbers by value, other names by letter."""
    names = {picture.label for picture in listing.pictures}
    if len(names) < 2:
        raise DataError(
            f"{source} has one class ({next(iter(names))}); a classifier needs two or more: give the "
            "pictures of each class a folder or a label of their own"
        )
    if len(names) > MAX_CLASSES:
        raise DataError(
            f"{source} has {len(names)} classes; at most {MAX_CLASSES} can be trained: merge some"
        )
    by_value = all(name.isdecimal() and name.isascii() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name), name) if by_value else (0, name)))


def check_given_splits(source: Path, listing: Listing, classes: Sequence[str]) -> None:
    """Check the splits that the source names. `val` may be missing: it is then taken from `train`."""
    given = listing.given
    if not given:
        return
    missing = sorted({"train", "test"} - given)
    if missing:
        raise DataError(
            f"{source} names the splits {', '.join(sorted(given))} but not {missing[0]}; add it, or name no "
            "splits and they are made"
        )
    for split in SPLITS:
        inside = Counter(p.label for p in listing.pictures if p.split == split)
        absent = [name for name in classes if name not in inside]
        if inside and absent:
            raise DataError(
                f"{source}: the split {split} has no picture of the class {absent[0]}; every split needs all "
                "classes"
            )
    first: dict[str, Listed] = {}
    for picture in listing.pictures:
        if picture.group is None:
            continue
        other = first.setdefault(picture.group, picture)
        if other.split != picture.split:
            raise DataError(
                f"the group {picture.group} is in two splits ({other.name} in {other.split}, {picture.name} "
                f"in {picture.split}); put all pictures of a group into one split, or name no splits"
            )


def check_unreadable(source: Path, pictures: Pictures, *, skip: bool) -> None:
    """Refuse pictures that cannot be read, unless they are to be skipped."""
    if not pictures.unreadable or (skip and pictures.read):
        return
    (name, why), *others = pictures.unreadable.items()
    more = f" (also {shown([other for other, _ in others])})" if others else ""
    raise DataError(
        f"{source / name if source.is_dir() else f'{source}: {name}'} {why}{more}; mend or remove it, or "
        "leave such pictures out with --skip-unreadable"
    )


def check_given_splits_are_left(
    listing: Listing, classes: Sequence[str], by_split: Mapping[Split, Sequence[Pixels]]
) -> None:
    """Refuse a split that the source names and that has lost a class with the pictures left out."""
    for split in SPLITS:
        left = {picture.listed.label for picture in by_split[split]}
        absent = [name for name in classes if name not in left]
        if split in listing.given and absent:
            raise DataError(
                f"no picture of the class {absent[0]} in the split {split} can be read; mend some, or leave "
                "the class out"
            )


def check_conflicts(pictures: Sequence[Pixels]) -> None:
    """Refuse pictures with the same pixels and two classes: one of the labels is wrong."""
    first: dict[bytes, Pixels] = {}
    conflicts = []
    for picture in pictures:
        other = first.setdefault(picture.digest, picture)
        if other.listed.label != picture.listed.label:
            conflicts.append((other.listed, picture.listed))
    if conflicts:
        a, b = conflicts[0]
        more = f" ({len(conflicts) - 1} more such pictures)" if len(conflicts) > 1 else ""
        raise DataError(
            f"{a.name} and {b.name} are the same picture in the classes {a.label} and {b.label}{more}; "
            "remove one of the two"
        )


def channels_of(pictures: Sequence[Pixels], asked: int | None) -> int:
    """Return 1 if no picture has a colour, else 3. Refuses a mixture unless the answer was asked for."""
    if asked is not None:
        return asked
    coloured = [p for p in pictures if not p.gray]
    gray = [p for p in pictures if p.gray_file]
    if coloured and gray:
        raise DataError(
            f"{len(gray)} pictures are gray ({gray[0].listed.name}) and {len(coloured)} have colours "
            f"({coloured[0].listed.name}); choose --channels 1 to make all gray, or --channels 3"
        )
    return 3 if coloured else 1


def check_every_class_is_left(classes: Sequence[str], pictures: Sequence[Pixels]) -> None:
    """Refuse a class of which no picture could be read, and pictures that are all alike."""
    left = {picture.listed.label for picture in pictures}
    gone = [name for name in classes if name not in left]
    if gone:
        raise DataError(f"no picture of the class {gone[0]} can be read; mend them or remove it")
    if all(picture.constant for picture in pictures):
        raise DataError(
            f"every picture has one colour only ({pictures[0].listed.name}); there is nothing to learn: look "
            "at the files and at --crop"
        )


def check_sizes(n: Mapping[Split, int]) -> None:
    """Refuse a split of one picture."""
    small = [split for split in SPLITS if n[split] < MIN_PICTURES]
    if small:
        raise DataError(
            f"the split {small[0]} would have {n[small[0]]} picture; it needs {MIN_PICTURES} or more: add "
            "pictures or give it a larger part with --splits"
        )
