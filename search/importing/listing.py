"""The pictures to import, before one is opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..errors import DataError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
_ALIASES: dict[str, Split] = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
MAX_NAME = 200
"""Letters of a class name, as search/data/info.py allows."""
MAX_SHOWN = 3
"""Names that one message lists."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A picture with what its folder or its row says about it."""

    path: Path
    name: str
    """The path from the source on, with "/": the same on every machine."""
    label: str
    group: str | None = None
    split: Split | None = None


@dataclass(slots=True)
class Listing:
    """All pictures of a source, in the order of their names."""

    pictures: list[Listed] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """Files of other kinds. Hidden ones are not listed."""

    @property
    def given(self) -> set[Split]:
        """The splits that the source names; empty if it names none."""
        return {p.split for p in self.pictures if p.split is not None}


def split_named(name: str) -> Split | None:
    """Return the split that a folder or a cell of a table means."""
    return _ALIASES.get(name.strip().lower())


def check_name(name: str, what: str, where: str) -> None:
    """Raise DataError for a name that a file or a screen cannot show."""
    try:
        name.encode()
    except UnicodeEncodeError:
        raise DataError(f"{where}: the name of {what} is not UTF-8; rename it") from None
    if not name.isprintable():
        raise DataError(f"{where}: the name of {what} holds control characters; rename it")
    if len(name) > MAX_NAME:
        raise DataError(
            f"{where}: the name of {what} has {len(name)} letters; at most {MAX_NAME} are kept"
        )


def shown(names: Sequence[str]) -> str:
    """Return the first names of a list and the number of the others, in one line."""
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return ", ".join(names[:MAX_SHOWN]) + more
