"""The description of a data set as a value. Imports neither numpy nor torch.

DatasetInfo    what a study, a model, a report and an export need to know of a data set
FileInfo       what an npz file says about itself, in its array `info`
Fingerprint    which data a study was made with
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

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
    short: tuple[str, ...] = ()
    """Shorter names for the axes of figures; empty: the names, cut off."""
    size: int
    """Height and width in pixels."""
    channels: Literal[1, 3]
    n_images: dict[Split, int]
    crop: Crop = "square"
    """The part of a larger picture that an image of this set shows."""
    smallest: int | None = None
    """The shortest side of a picture that may be enlarged; None: pictures are never enlarged."""
    about: str = ""
    """What the images show, in a few words."""
    source: str = ""
    """Where the images come from."""
    license: str = ""
    citations: tuple[str, ...] = ()
    limits: str = ""
    """What a model of these images cannot be expected to do, for its card; empty: a general sentence."""

    @property
    def shape(self) -> Shape:
        """Return what a model has to know."""
        return Shape(size=self.size, channels=self.channels, classes=len(self.classes))

    @property
    def short_classes(self) -> tuple[str, ...]:
        """Return the names of the classes for narrow columns."""
        return self.short or tuple(n if len(n) <= 12 else f"{n[:10]}..." for n in self.classes)

    def n_trained(self, n_folds: int) -> int:
        """Return the images that a trial's epoch trains on; with folds, an epoch is one of each."""
        if not n_folds:
            return self.n_images["train"]
        return (n_folds - 1) * (self.n_images["train"] + self.n_images["val"])

    def whole_share(self, n_folds: int) -> float:
        """Return an epoch on the training split as a share of a trial's, which may be one of each fold."""
        return self.n_trained(0) / self.n_trained(n_folds)

    @property
    def preparation(self) -> Preparation:
        """Return how a picture becomes an image of this set."""
        return Preparation(
            side=self.size,
            crop=self.crop,
            channels=self.channels,
            smallest=self.smallest or self.size,
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
    smallest: Annotated[int, Field(ge=1)] | None = None
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
    own: DatasetInfo | None = None
    """The description of a person's own file; the others' are in the registry."""
    path: str = ""
    """Where the file was when the study was made, if it was named by its path."""

    @property
    def info(self) -> DatasetInfo:
        """Return the description of the data set."""
        from .registry import registered

        return self.own or registered(self.dataset)

    def describe(self) -> str:
        """Return the name of the data in results, e.g. "BloodMNIST (unofficial copy)"."""
        if self.provenance == "synthetic":
            return "the synthetic set (drawings, not blood cells)"
        if self.provenance == "own":
            return f"{one_line(self.info.title)} (own data)"
        size = f" at {self.info.size} x {self.info.size}" if "@" in self.dataset else ""
        copy = "" if self.provenance == "official" else " (unofficial copy)"
        return self.info.title + size + copy

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a study stores them, without empty ones."""
        fields = {"dataset": self.dataset, "provenance": self.provenance}
        fields |= {"content_hash": self.content_hash}
        own = {} if self.own is None else {"own": self.own.model_dump(mode="json")}
        return fields | own | ({"path": self.path} if self.path else {})

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Self:
        """Return what `as_dict` stored. Raises ValueError if it is something else."""
        try:
            fields = dict(stored)
            if fields.get("own") is not None:
                fields["own"] = DatasetInfo.model_validate(fields["own"])
            return cls(**fields)
        except TypeError as error:
            raise ValueError(str(error)) from None
