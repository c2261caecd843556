"""What an import saw and wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .listing import SPLITS, Split, shown

FEW = 10
"""Pictures of a class in a split, below which its score is mostly chance."""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """A data set that was made of pictures."""

    out: Path
    md5: str
    classes: tuple[str, ...]
    class_counts: dict[Split, tuple[int, ...]]
    shape: tuple[int, ...]
    """Of one image."""
    preparation: str
    """How pictures were cropped and resized, in words."""
    splits: str
    """How the splits were made, in words."""
    smallest: tuple[int, int]
    """Width and height of the picture with the fewest pixels."""
    largest: tuple[int, int]
    n_sizes: int
    """Different sizes among the pictures."""
    n_enlarged: int
    """Pictures with a shorter side than the images."""
    unreadable: dict[str, str]
    """Pictures that were left out, with the reason."""
    left_out: tuple[str, ...]
    """Files of other kinds."""
    constant: tuple[str, ...]
    """Pictures of one colour."""
    same_within: tuple[tuple[str, str], ...]
    """Pairs of pictures in one split with the same pixels."""
    same_across: tuple[tuple[str, str], ...]
    """Pairs of pictures in two splits with the same pixels."""
    similar_across: tuple[tuple[str, str], ...]
    """Pairs of pictures in two splits that look the same."""

    @property
    def n_images(self) -> dict[Split, int]:
        return {split: sum(self.class_counts[split]) for split in SPLITS}

    def notes(self) -> Iterator[str]:
        """Yield what a person should look at, one sentence each."""
        if self.unreadable:
            yield f"left out because they cannot be read: {_count(list(self.unreadable))}"
        if self.left_out:
            yield f"not pictures: {_count(self.left_out)}"
        if self.constant:
            yield f"pictures of one colour only: {_count(self.constant)}"
        if self.n_enlarged:
            yield f"{self.n_enlarged:,} pictures are smaller than {self.shape[0]} pixels and were enlarged"
        for pairs, what in (
            (self.same_within, "the same picture twice in a split"),
            (self.same_across, "the same picture in two splits, so scores are too good"),
            (self.similar_across, "pictures of two splits that look the same"),
        ):
            if pairs:
                yield f"{what}: {_count([f'{a} and {b}' for a, b in pairs])}"
        for split in SPLITS:
            few = [
                f"{name} ({n})"
                for name, n in zip(self.classes, self.class_counts[split], strict=True)
                if n < FEW
            ]
            if few:
                yield (
                    f"fewer than {FEW} {split} pictures: {shown(few)}; the score of such a class is mostly "
                    "chance"
                )


def _count(names: list[str] | tuple[str, ...]) -> str:
    return f"{len(names):,} ({shown(names)})"
