"""The rule by which a picture becomes the pixels of a model. The data set and the model file carry it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

Crop = int | Literal["square", "whole"]
CROPS: tuple[Literal["square", "whole"], ...] = ("square", "whole")
MAX_SIDE = 1024


@dataclass(frozen=True, slots=True)
class Preparation:
    """How pictures are cropped and resized. Raises ValueError for a rule that makes no sense."""

    side: int
    """Height and width of the result."""
    crop: Crop
    """A number: that many pixels in the centre, or the largest square of a smaller picture.
    square: the largest square in the centre. whole: all of it, squeezed into a square."""
    channels: int
    """1 for gray, 3 for RGB."""
    smallest: int
    """Pictures with a shorter side are refused."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name == "crop" and value in CROPS:
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{name} is {value!r}")
        if self.channels not in (1, 3) or self.side > MAX_SIDE:
            raise ValueError(f"{self.side} x {self.side} pixels of {self.channels} channels")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one prepared image: (side, side) or (side, side, 3)."""
        return (self.side, self.side) if self.channels == 1 else (self.side, self.side, 3)

    def describe(self) -> str:
        """Return the rule in words, such as "the centre 200 x 200 pixels, resized to 28 x 28"."""
        part = {"square": "the largest square in the centre", "whole": "the whole picture"}
        taken = part.get(str(self.crop), f"the centre {self.crop} x {self.crop} pixels")
        colour = ", gray" if self.channels == 1 else ""
        return f"{taken}, resized to {self.side} x {self.side}{colour}"

    def as_json(self) -> dict[str, Any]:
        """Return the rule as JSON holds it."""
        return asdict(self)


BLOODMNIST = Preparation(side=28, crop=200, channels=3, smallest=28)
"""BloodMNIST was made from the centre 200 x 200 pixels of each photograph."""


def preparation(stored: Mapping[str, Any]) -> Preparation:
    """Return the rule that a file holds as JSON. Raises ValueError if it is none."""
    try:
        return Preparation(**{str(name): value for name, value in stored.items()})
    except TypeError as error:
        raise ValueError(str(error)) from None
