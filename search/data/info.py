"""The description of a data set as a value. Imports neither numpy nor torch.

    DatasetInfo    what a study, a model, a report and an export need to know of a data set
    FileInfo       what an npz file says about itself, in its array `info`
    Fingerprint    which data a study was made with
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from ...models.config import Shape
from ...models.fields import Frozen
from ..images.preparation import Crop, Preparation
from ..text import one_line

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
Task = Literal["multi-class", "binary", "ordinal", "multi-label"]
Provenance = Literal["official", "unofficial", "synthetic", "own"]
MAX_CLASSES = 256
"""Labels are kept as bytes."""

Text = Annotated[str, Field(max_length=2000)]


class DatasetInfo(Frozen):
    """A data set: its name, its shape, its classes and its origin."""

    name: str
    """What --dataset takes, without a path: "dermamnist", "dermamnist@64", "cells.npz"."""
    title: str
    """The name in results: "DermaMNIST"."""
    task: Task
    classes: tuple[str, ...]
    """Names in the order of the labels 0, 1, 2, ..."""
    size: int
    """Height and width in pixels."""
    channels: Literal[1, 3]
    n_images: dict[Split, int]
    crop: Crop = "square"
    """The part of a larger picture that an image of this set shows."""
    about: str = ""
    """What the images show, in a few words."""
    source: str = ""
    """Where the images come from."""
    license: str = ""
    citations: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        """Return what a model has to know."""
        return Shape(size=self.size, channels=self.channels, classes=len(self.classes))

    @property
    def preparation(self) -> Preparation:
        """Return how a picture becomes an image of this set."""
        return Preparation(
            side=self.size, crop=self.crop, channels=self.channels, smallest=self.size
        )

    @property
    def pixels(self) -> str:
        """Return the size of an image in words: "28 x 28", "64 x 64, gray"."""
        return f"{self.size} x {self.size}" + (", gray" if self.channels == 1 else "")


class FileInfo(Frozen):
    """What an npz file says about itself: JSON as UTF-8 bytes in its array `info`. All of it is optional."""

    model_config = ConfigDict(frozen=True, extra="allow")

    title: Text = ""
    task: Literal["multi-class", "binary", "ordinal"] | None = None
    """None: binary for two classes, else multi-class."""
    classes: tuple[Annotated[str, Field(min_length=1, max_length=200)], ...] = ()
    """Empty: the classes are called by their labels."""
    crop: Crop = "square"
    about: Text = ""
    source: Text = ""
    license: Text = ""

    def encode(self) -> bytes:
        """Return the bytes of the array `info`."""
        return self.model_dump_json().encode()


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The identity of a data set. Two data sets are the same if their `content_hash` is."""

    dataset: str
    """DatasetInfo.name."""
    provenance: Provenance
    content_hash: str
    title: str = ""
    """Of a person's own file; the others' titles are in the registry."""
    path: str = ""
    """Where the file was when the study was made, if it was named by its path."""

    def describe(self) -> str:
        """Return the name of the data in results, e.g. "BloodMNIST (unofficial copy)"."""
        if self.provenance == "synthetic":
            return "the synthetic set (drawings, not blood cells)"
        if self.provenance == "own":
            return f"{one_line(self.title)} (own data)"
        from .registry import registered

        info = registered(self.dataset)
        size = "" if "@" not in self.dataset else f" at {info.size} x {info.size}"
        return info.title + size + ("" if self.provenance == "official" else " (unofficial copy)")

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a study stores them, without empty ones."""
        return {key: value for key, value in asdict(self).items() if value != ""}
