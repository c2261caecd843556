"""Import pictures: list, read, check, split, write. Library use: `from bloodsearch import import_images`."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files import atomic_write
from ..images.preparation import Preparation
from . import refusals
from .archive import write_archive
from .duplicates import same, similar
from .listing import SPLITS, Listing, Split
from .options import (
    channels_asked,
    check_out,
    crop_of,
    fractions_of,
    license_of,
    listed,
    set_groups,
    side_of,
    title_of,
)
from .reading import Pictures, Pixels, Scratch, read_pictures
from .result import ImportResult
from .splits import draw, units_of

SMALLEST = 8
"""The shortest side of a picture that shows anything."""
MAX_NAMES = 100
"""Unreadable pictures that the file names."""
DEFAULT_SPLITS = "70/10/20"


def import_images(
    source: str | Path,
    *,
    out: str | Path,
    size: int = 28,
    crop: str | int = "square",
    channels: int | None = None,
    splits: str | None = None,
    group_pattern: str | None = None,
    seed: int = 0,
    images: str | Path | None = None,
    title: str | None = None,
    license: str = "",
    skip_unreadable: bool = False,
    force: bool = False,
    on_picture: Callable[[int, int], object] = lambda done, total: None,
) -> ImportResult:
    """Make a data set of pictures and write it to `out`, whole or not at all.

    Args:
        source: A folder with CLASS/*.png or train|val|test/CLASS/*.png, or a CSV file with the columns path,
            label and, optionally, group and split.
        out: The npz file to write.
        size: Height and width of the images in pixels.
        crop: "square" for the largest square in the centre, "whole" for all of a picture, or a number of
            pixels in the centre.
        channels: 1 for gray, 3 for RGB; None: gray if no picture has a colour.
        splits: Percentages of train/val/test where the source names no splits; default "70/10/20".
        group_pattern: A regular expression that finds the group, such as the patient, in each path.
        seed: Another seed makes other splits.
        images: The folder that the paths of a CSV file start from; default: the folder of the file.
        title: The name of the data in results; default: the name of `source`.
        license: The licence of the pictures, kept in the file.
        skip_unreadable: Whether to leave out pictures that cannot be read.
        force: Whether to replace `out`.
        on_picture: Receives the number of pictures that were read and the number of all.

    Raises DataError for pictures that cannot be trained on, UsageError for wrong arguments.
    """
    source, out = Path(source), Path(out)
    options = _Options(
        rule=Preparation(side_of(size), crop_of(crop), 3, SMALLEST),
        channels=channels_asked(channels),
        fractions=fractions_of(splits or DEFAULT_SPLITS),
        seed=seed,
        skip_unreadable=skip_unreadable,
        about={
            "title": title_of(source.resolve().stem if title is None else title),
            "license": license_of(license),
        },
    )
    check_out(out, force=force)
    listing = listed(source, None if images is None else Path(images))
    if listing.given and splits is not None:
        raise UsageError(f"{source} names the splits itself; leave --splits out")
    set_groups(listing, group_pattern)
    try:
        return _import(source, listing, options, out, on_picture)
    except OSError as error:
        raise UsageError(
            f"cannot write {out} ({error.strerror or error}); choose another place with --out"
        ) from None


@dataclass(frozen=True, slots=True)
class _Options:
    """What the caller asked for, apart from the pictures."""

    rule: Preparation
    channels: int | None
    fractions: dict[Split, float]
    seed: int
    skip_unreadable: bool
    about: dict[str, str]
    """What the file says about itself, as it was given."""


def _import(
    source: Path,
    listing: Listing,
    options: _Options,
    out: Path,
    on_picture: Callable[[int, int], object],
) -> ImportResult:
    """Read, check and split the listed pictures, and write the file."""
    classes = refusals.check_classes(source, listing)
    refusals.check_given_splits(source, listing, classes)
    with (
        atomic_write(out) as temporary,
        # without a name: it disappears with the process, however that ends
        tempfile.TemporaryFile(dir=out.parent) as file,
    ):
        scratch = Scratch(file, options.rule)
        is_gray = options.channels == 1
        pictures = read_pictures(listing.pictures, scratch, on_picture, gray=is_gray)
        refusals.check_unreadable(source, pictures, skip=options.skip_unreadable)
        refusals.check_every_class_is_left(classes, pictures.read)
        refusals.check_conflicts(pictures.read)
        channels = refusals.channels_of(pictures.read, options.channels)
        rule = replace(options.rule, channels=channels)
        by_split, how = _split(pictures.read, listing, classes, options)
        refusals.check_given_splits_are_left(listing, classes, by_split)
        refusals.check_sizes({split: len(by_split[split]) for split in SPLITS})
        result = _result(out, listing, pictures, by_split, rule, how, classes)
        result = replace(result, similar_across=similar(by_split, scratch, gray=is_gray))
        groups = _groups(by_split)
        labels = {
            split: [classes.index(p.listed.label) for p in by_split[split]] for split in SPLITS
        }
        info = json.dumps(
            {
                **options.about,
                **_describe(result, source, rule, options.seed),
                **({"groups": len(set().union(*groups.values()))} if groups else {}),
            },
            ensure_ascii=False,
            sort_keys=True,
        )
        places = {split: [p.place for p in by_split[split]] for split in SPLITS}
        write_archive(temporary, scratch, places, labels, groups, rule, info.encode())
        with temporary.open("rb") as written:
            digest = hashlib.file_digest(written, lambda: hashlib.md5(usedforsecurity=False))
    return replace(result, md5=digest.hexdigest())


def _split(
    pictures: Sequence[Pixels], listing: Listing, classes: Sequence[str], options: _Options
) -> tuple[dict[Split, list[Pixels]], str]:
    """Return the pictures of each split in a shuffled order, and in words how they were chosen."""
    ordered = sorted(pictures, key=lambda p: _shuffled(p.listed.name, options.seed))
    by_split: dict[Split, list[Pixels]] = {split: [] for split in SPLITS}
    for picture in ordered:
        by_split[picture.listed.split or "train"].append(picture)
    parts: dict[Split, float] = dict(options.fractions)
    if listing.given:
        how = "given"
        if "val" in listing.given:
            return by_split, how
        del parts["test"]
        parts = {split: part / sum(parts.values()) for split, part in parts.items()}
        how = f"test given, validation drawn from the training pictures, seed {options.seed}"
    else:
        shares = "/".join(f"{100 * part:g}" for part in parts.values())
        grouped = ", whole groups" if any(p.listed.group for p in ordered) else ""
        how = f"{shares} % drawn by class{grouped}, seed {options.seed}"
    drawn = by_split["train"]
    chosen = draw(
        [classes.index(p.listed.label) for p in drawn],
        _units(drawn),
        [p.listed.name for p in drawn],
        parts,
        options.seed,
        classes,
    )
    for split in parts:
        by_split[split] = [p for p, where in zip(drawn, chosen, strict=True) if where == split]
    return by_split, how


def _units(pictures: Sequence[Pixels]) -> list[int]:
    """Return the unit of each picture: those of a group, and exact copies, belong together."""
    return units_of(
        [p.listed.group for p in pictures], [None if p.constant else p.digest for p in pictures]
    )


def _groups(by_split: Mapping[Split, Sequence[Pixels]]) -> dict[Split, list[int]]:
    """Return a number for the unit of each training and validation picture; {} if each is on its own."""
    units = _units([*by_split["train"], *by_split["val"]])
    if len(set(units)) == len(units):
        return {}
    n_train = len(by_split["train"])
    return {"train": units[:n_train], "val": units[n_train:]}


def _shuffled(name: str, seed: int) -> bytes:
    # the hash, not a generator: an order that no version of numpy changes
    return hashlib.blake2b(f"order {seed} {name}".encode()).digest()


def _result(
    out: Path,
    listing: Listing,
    pictures: Pictures,
    by_split: dict[Split, list[Pixels]],
    rule: Preparation,
    how: str,
    classes: tuple[str, ...],
) -> ImportResult:
    sizes = Counter(p.size for p in pictures.read)
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    within, across = same(by_split)
    counts = {split: Counter(p.listed.label for p in by_split[split]) for split in SPLITS}
    return ImportResult(
        out=out,
        md5="",
        classes=classes,
        class_counts={s: tuple(counts[s][name] for name in classes) for s in SPLITS},
        shape=rule.shape,
        preparation=rule.describe(),
        splits=how,
        smallest=by_area[0],
        largest=by_area[-1],
        n_sizes=len(sizes),
        n_enlarged=sum(n for size, n in sizes.items() if min(size) < rule.side),
        unreadable=pictures.unreadable,
        left_out=tuple(listing.left_out),
        constant=tuple(p.listed.name for p in pictures.read if p.constant),
        same_within=within,
        same_across=across,
        similar_across=(),
    )


def _describe(result: ImportResult, source: Path, rule: Preparation, seed: int) -> dict[str, Any]:
    """Return what the file says about its origin. Nothing in it depends on the machine or the time."""
    return {
        "classes": list(result.classes),
        "crop": rule.crop,
        "smallest": rule.smallest,
        "source": f"{sum(result.n_images.values())} pictures imported from {source.resolve().name}",
        "seed": seed,
        "splits": result.splits,
        "class_counts": {split: list(n) for split, n in result.class_counts.items()},
        "picture_sizes": [list(result.smallest), list(result.largest)],
        "unreadable": sorted(result.unreadable)[:MAX_NAMES],
        "same_within_splits": len(result.same_within),
        "same_across_splits": len(result.same_across),
        "similar_across_splits": len(result.similar_across),
        "constant": len(result.constant),
    }
