"""Read an npz file of MedMNIST's layout: checked from its headers, one array at a time.

    {train,val,test}_images   uint8 (n, s, s) or (n, s, s, 3)
    {train,val,test}_labels   integers (n,) or (n, 1), counted from 0
    {train,val}_groups        optional: integers (n,), the same for images that belong together
    info                      optional: UTF-8 bytes of JSON (info.FileInfo)

Nothing here looks at an image of the test split unless `read_images` is called for it.
"""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray
from pydantic import ValidationError

from ..errors import DataError
from .info import MAX_CLASSES, SPLITS, FileInfo, Split

Array = NDArray[np.uint8]
Shape = tuple[int, ...]

MIN_SIDE, MAX_SIDE = 4, 512
MAX_INFO_BYTES = 1 << 20
HEADER_BYTES = 1 << 16
"""More than any npy header has that numpy accepts."""


@dataclass(frozen=True, slots=True)
class Header:
    """An array's shape and dtype, before it is read."""

    shape: Shape
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class Archive:
    """An open npz file. Every problem is a DataError of one line that ends with `cure`."""

    def __init__(self, path: Path, file: zipfile.ZipFile, cure: str) -> None:
        self.path, self.cure = path, cure
        self._file = file
        self._names = set(file.namelist())

    def unusable(self, why: str) -> DataError:
        """Return the error for a file that cannot be used."""
        # numpy and zipfile quote the content, which may be binary
        why = " ".join(why.split())[:200]
        return DataError(f"{self.path} cannot be used: {why}; {self.cure}")

    def header(self, name: str) -> Header:
        """Return the header of an array; no element is read."""
        member = f"{name}.npy"
        if member not in self._names:
            raise self.unusable(f"the array {name} is missing")
        try:
            with self._file.open(member) as file:
                version = npy_format.read_magic(file)
                read = {
                    (1, 0): npy_format.read_array_header_1_0,
                    (2, 0): npy_format.read_array_header_2_0,
                }[version]
                shape, _, dtype = read(file)
        except (
            Exception
        ) as error:  # ValueError, KeyError, zlib.error, RuntimeError (encrypted), ...
            raise self.unusable(f"{member} is not a numpy array ({error})") from None
        header = Header(shape, dtype)
        claimed = self._file.getinfo(member).file_size
        if not dtype.hasobject and not 0 <= claimed - header.nbytes <= HEADER_BYTES:
            raise self.unusable(
                f"{member} claims {claimed} bytes in the archive's directory, and shape {shape} in its header"
            )
        return header

    def checksum(self, name: str) -> int:
        """Return the CRC-32 of an array as the archive's directory has it; nothing is read."""
        return self._file.getinfo(f"{name}.npy").CRC

    def read(self, name: str) -> NDArray[Any]:
        """Return an array, in C order."""
        try:
            with self._file.open(f"{name}.npy") as file:
                array = npy_format.read_array(file, allow_pickle=False)
        except Exception as error:  # as in `header`
            raise self.unusable(f"{name}.npy is damaged ({error})") from None
        return np.ascontiguousarray(array)

    def check(self, name: str) -> None:
        """Raise DataError unless an array's bytes have their checksum. They are not kept."""
        try:
            with self._file.open(f"{name}.npy") as file:
                while file.read(1 << 20):  # zipfile compares at the end
                    pass
        except Exception as error:  # as in `header`
            raise self.unusable(f"{name}.npy is damaged ({error})") from None

    def read_images(self, split: Split) -> Array:
        """Return the images of a split as (n, s, s, c)."""
        images: Array = self.read(f"{split}_images")
        return images[..., None] if images.ndim == 3 else images

    def read_labels(self, split: Split, n_classes: int) -> Array:
        """Return the labels of a split as bytes (n,). Raises DataError for one that is no class."""
        labels = self.read(f"{split}_labels").reshape(-1)
        wrong = labels[(labels < 0) | (labels >= n_classes)]
        if len(wrong):
            raise self.unusable(f"{split}_labels holds {wrong[0]}; labels are 0..{n_classes - 1}")
        return labels.astype(np.uint8)

    def read_groups(self, n_images: Mapping[Split, int]) -> NDArray[np.int64] | None:
        """Return the group of each training and validation image (n,); None for a file without groups."""
        names = [f"{split}_groups" for split in ("train", "val")]
        if not any(f"{name}.npy" in self._names for name in names):
            return None
        for name, n in zip(names, (n_images["train"], n_images["val"]), strict=True):
            header = self.header(name)
            if header.shape != (n,) or not np.issubdtype(header.dtype, np.integer):
                raise self.unusable(
                    f"{name}.npy holds {header.dtype} of shape {header.shape}; {n} images need {n} integers"
                )
        return np.concatenate([self.read(name) for name in names]).astype(np.int64)

    def largest_label(self) -> int:
        """Return the largest label of the training and validation splits."""
        return max(int(self.read(f"{split}_labels").max()) for split in ("train", "val"))

    def info(self) -> FileInfo:
        """Return what the file says about itself; nothing where it has no array `info`."""
        if "info.npy" not in self._names:
            return FileInfo()
        header = self.header("info")
        if header.dtype != np.uint8 or len(header.shape) != 1 or header.nbytes > MAX_INFO_BYTES:
            raise self.unusable("the array info is not JSON in bytes of one axis")
        try:
            info = FileInfo.model_validate_json(self.read("info").tobytes())
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(map(str, problem["loc"])) or "info"
            raise self.unusable(f"info: {where}: {problem['msg']}") from None
        if len(set(info.classes)) < len(info.classes):
            raise self.unusable("info: classes: a name occurs twice")
        return info


@contextlib.contextmanager
def open_archive(path: Path, *, missing: str, cure: str) -> Iterator[Archive]:
    """Open an npz file.

    Args:
        path: The file.
        missing: The message if there is no such file.
        cure: What to do about a file that cannot be used.

    Raises DataError.
    """
    try:
        if not path.exists():
            raise DataError(missing)
    except OSError as error:  # no way into the folder, a name of 300 letters
        raise DataError(
            f"{path} cannot be read ({error.strerror}); name another folder with --data-root"
        ) from None
    if not path.is_file():
        raise DataError(f"{path} is not a regular file; it should be an npz archive")
    try:
        file = zipfile.ZipFile(path)
    except PermissionError:
        raise DataError(f"no permission to read {path}") from None
    except Exception as error:  # zipfile meets a damaged directory with half a dozen kinds
        why = " ".join(str(error).split())[:150]
        raise DataError(
            f"{path} cannot be used: not a complete npz archive ({why}); {cure}"
        ) from None
    with file:
        yield Archive(path, file, cure)


def check_layout(archive: Archive) -> tuple[int, int, dict[Split, int]]:
    """Check all six arrays of any data set from their headers. Return side, channels and images by split."""
    shapes: dict[Split, Shape] = {}
    for split in SPLITS:
        images, labels = (archive.header(f"{split}_{what}") for what in ("images", "labels"))
        if images.dtype != np.uint8:
            raise archive.unusable(f"{split}_images.npy holds {images.dtype}, not uint8")
        if not np.issubdtype(labels.dtype, np.integer):
            raise archive.unusable(f"{split}_labels.npy holds {labels.dtype}, not integers")
        _check_shapes(archive, split, images.shape, labels.shape)
        shapes[split] = images.shape
    first = shapes["train"]
    for split, shape in shapes.items():
        if shape[1:] != first[1:]:
            raise archive.unusable(
                f"{split}_images has images of {shape[1:]}, train_images of {first[1:]}"
            )
    return first[1], 1 if len(first) == 3 else first[3], {s: shapes[s][0] for s in SPLITS}


def _check_shapes(archive: Archive, split: Split, images: Shape, labels: Shape) -> None:
    if len(images) not in (3, 4) or (len(images) == 4 and images[3] not in (1, 3)):
        raise archive.unusable(
            f"{split}_images.npy has shape {images}; images are (n, s, s) or (n, s, s, 3)"
        )
    n, height, width = images[:3]
    if n < 2:
        raise archive.unusable(
            f"{split}_images.npy has shape {images}; a split has 2 images or more"
        )
    if height != width or not MIN_SIDE <= height <= MAX_SIDE:
        raise archive.unusable(
            f"{split}_images.npy holds images of {height} x {width} pixels; they are square, with "
            f"{MIN_SIDE} to {MAX_SIDE} pixels on a side (`bloodsearch data import` resizes)"
        )
    if labels == (n,) or labels == (n, 1):
        return
    if len(labels) == 2 and labels[0] == n and labels[1] > 1:
        raise archive.unusable(
            f"{split}_labels.npy has shape {labels}: one-hot, or several labels per image; give one number "
            "per image, counted from 0"
        )
    raise archive.unusable(f"{split}_labels.npy has shape {labels}; {n} images need ({n},)")


def count_classes(archive: Archive, info: FileInfo) -> int:
    """Return the number of classes: of the names in the file, else of the labels."""
    n = len(info.classes) or archive.largest_label() + 1
    if not 2 <= n <= MAX_CLASSES:
        raise archive.unusable(f"it has {n} classes; 2 to {MAX_CLASSES} can be trained")
    return n
