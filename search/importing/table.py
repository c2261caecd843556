"""List the pictures that a CSV file names: columns path and label, optional group and split."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import DataError
from .listing import Listed, Listing, Split, check_name, split_named

COLUMNS = ("path", "label", "group", "split")
NEEDED = ("path", "label")
MAX_BYTES = 256 * 2**20
DELIMITERS = ",;\t"


def list_table(source: Path, images: Path | None = None) -> Listing:
    """Return the pictures of a CSV file with commas, semicolons or tabs.

    `images` is the folder that paths start from; None: the folder of the CSV file.
    Raises DataError with the line's number for a row that cannot be used.
    """
    root = Path(os.path.abspath(images or source.parent))
    listing = Listing()
    lines: dict[str, int] = {}
    for line, row in _rows(source):
        picture = _picture(f"{source}, line {line}", row, root)
        first = lines.setdefault(picture.name, line)
        if first != line:
            raise DataError(
                f"{source}, line {line}: {picture.name} is on line {first} already; keep one of the lines"
            )
        listing.pictures.append(picture)
    if not listing.pictures:
        raise DataError(f"{source} names no picture; give it one line for each, below the header")
    listing.pictures.sort(key=lambda picture: picture.name)
    return listing


def _rows(source: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield the number of each line that is not empty, with its cells by column."""
    try:
        if source.stat().st_size > MAX_BYTES:
            raise DataError(f"{source} is larger than {MAX_BYTES >> 20} MiB; split it")
        with source.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            if not header.strip():
                raise DataError(
                    f"{source} has an empty first line; it names the columns path and label"
                )
            delimiter = max(DELIMITERS, key=header.count)
            columns = [c.strip().lower() for c in next(csv.reader([header], delimiter=delimiter))]
            _check_columns(source, columns)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            for cells in reader:
                if not any(cells):
                    continue
                line = reader.line_num + 1
                if len(cells) != len(columns):
                    raise DataError(
                        f"{source}, line {line}: {len(cells)} cells, but {len(columns)} columns; a name that "
                        "holds the delimiter needs quotes"
                    )
                yield line, dict(zip(columns, (cell.strip() for cell in cells), strict=True))
    except OSError as error:
        raise DataError(f"{source} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{source} is not UTF-8 ({error.reason}); save it as UTF-8") from None
    except csv.Error as error:
        raise DataError(f"{source} is not a CSV file ({error}); save it as CSV") from None


def _check_columns(source: Path, columns: list[str]) -> None:
    missing = [name for name in NEEDED if name not in columns]
    if missing:
        there = ", ".join(columns)[:100]
        raise DataError(
            f"{source} has no column {missing[0]} (its first line: {there}); name the columns path, label "
            "and, optionally, group and split"
        )
    double = next((name for name in COLUMNS if columns.count(name) > 1), None)
    if double is not None:
        raise DataError(f"{source} has two columns {double}; keep one of them")


def _picture(where: str, row: Mapping[str, str], root: Path) -> Listed:
    for column in COLUMNS:
        if column in row and not row[column]:
            raise DataError(f"{where}: no {column}; fill it in on every line, or remove the line")
    check_name(row["path"], "the picture", where)
    check_name(row["label"], "the class", where)
    # not resolve(): a link inside the folder may lead out of it, its name may not
    path = Path(os.path.normpath(root / row["path"]))
    if not path.is_relative_to(root):
        raise DataError(
            f"{where}: {row['path']} leads out of {root}; name a folder that holds all pictures with --images"
        )
    split: Split | None = None
    if "split" in row:
        split = split_named(row["split"])
        if split is None:
            raise DataError(f"{where}: {row['split']!r} is no split; write train, val or test")
    name = path.relative_to(root).as_posix()
    return Listed(path, name, row["label"], row.get("group"), split)
