"""The data sets: loaded, checked, hashed and kept in memory as uint8. The test split stays sealed.

Only `open_test_split` reads test images, and only the final evaluation calls it
(tests/search/test_imports.py proves that nothing else does).
"""

from __future__ import annotations

import hashlib
import logging
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from ...models.config import IMAGE_SIZE, N_CHANNELS, N_CLASSES
from .. import env
from ..errors import DataError, RefusedError

DatasetName = Literal["bloodmnist", "synthetic"]
Split = Literal["train", "val", "test"]
Array = NDArray[np.uint8]

CLASS_NAMES = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "immature granulocyte",
    "lymphocyte",
    "monocyte",
    "neutrophil",
    "platelet",
)
# Copied from medmnist.INFO["bloodmnist"], and compared with it by a test: importing medmnist
# takes seconds, because it imports torch and scikit-learn.
N_IMAGES: dict[Split, int] = {"train": 11_959, "val": 1_712, "test": 3_421}
OFFICIAL_MD5 = "7053d0359d879ad8a5505303e11de1dc"
FILE_NAME = "bloodmnist.npz"
# A real bloodmnist.npz holds 40 MB; an archive that claims more is not one (or is a zip bomb).
MAX_ARRAY_BYTES = 64 * 2**20

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The identity of a data set. Two data sets are the same if their `content_hash` is."""

    dataset: DatasetName
    provenance: Literal["official", "unofficial", "synthetic"]
    content_hash: str

    def describe(self) -> str:
        """Return the name of the data in results, e.g. "BloodMNIST (unofficial copy)"."""
        if self.provenance == "synthetic":
            return "the synthetic set (drawings, not blood cells)"
        return "BloodMNIST" + ("" if self.provenance == "official" else " (unofficial copy)")


@dataclass(frozen=True, slots=True)
class Dataset:
    """Train and validation split: images (n, 28, 28, 3) uint8, labels (n,) uint8 in 0..7."""

    train_images: Array
    train_labels: Array
    val_images: Array
    val_labels: Array
    fingerprint: Fingerprint


def joined(data: Dataset) -> Dataset:
    """Return `data` with its validation split added to the training split. The former is unchanged."""
    return replace(
        data,
        train_images=np.concatenate([data.train_images, data.val_images]),
        train_labels=np.concatenate([data.train_labels, data.val_labels]),
    )


def default_root() -> Path:
    """Return `$BLOODSEARCH_DATA`, else the folder where medmnist keeps its files.

    Raises DataError if the user has no home folder.
    """
    configured = env.data_root()
    if configured is not None:
        return configured
    try:
        return Path.home() / ".medmnist"
    except RuntimeError:  # a user without a home, as containers have
        raise DataError("no home folder to look in; name a folder with --data-root") from None


def load_dataset(dataset: DatasetName, root: Path | None = None) -> Dataset:
    """Load and check the train and validation splits of `dataset`.

    Raises DataError if the file is missing or is not BloodMNIST. Never downloads.
    """
    if dataset == "synthetic":
        return _load_synthetic()
    path = (root or default_root()) / FILE_NAME
    with _open_archive(path) as archive:
        _check_headers(path, archive)
        train_images, train_labels = _read_split(path, archive, "train")
        val_images, val_labels = _read_split(path, archive, "val")
        digest = _content_hash((train_images, train_labels, val_images, val_labels))
        # The test arrays enter with the checksums in the archive's directory: a changed test split gives
        # another hash although no test image is read.
        for member in ("test_images.npy", "test_labels.npy"):
            digest.update(f"{archive.getinfo(member).CRC:08x}".encode())
    fingerprint = Fingerprint(
        "bloodmnist",
        "official" if file_md5(path) == OFFICIAL_MD5 else "unofficial",
        digest.hexdigest()[:32],
    )
    return Dataset(train_images, train_labels, val_images, val_labels, fingerprint)


def check_same(actual: Fingerprint, expected: Fingerprint) -> None:
    """Raise RefusedError unless `actual` is the data set that a study was searched on."""
    if actual.content_hash != expected.content_hash:
        raise RefusedError(
            f"the data changed: the study was searched on {expected.content_hash}, "
            f"found {actual.content_hash}; point --data-root at the original file"
        )


def open_test_split(
    dataset: DatasetName,
    root: Path | None,
    *,
    expected: Fingerprint,
    record: Callable[[], object] = lambda: None,
    data: Dataset | None = None,
) -> tuple[Array, Array]:
    """Return the test split: images (n, 28, 28, 3), labels (n,). For the final evaluation alone.

    First the data are checked, then `record` writes the opening down, then the images are read: data that
    are missing or wrong cost no opening. Raises RefusedError when the data are not those of `expected`,
    DataError when the file cannot be read, and what `record` raises.

    Args:
        dataset: The data set's name.
        root: The folder with bloodmnist.npz; None: the default one.
        expected: The data that the study was searched on.
        record: Writes the ledger row.
        data: The train and validation splits, if they were loaded from the same place just now.
    """
    check_same((data or load_dataset(dataset, root)).fingerprint, expected)
    if dataset == "synthetic":
        from .synthetic import make_split

        record()
        return make_split("test")
    path = (root or default_root()) / FILE_NAME
    with _open_archive(path) as archive:
        record()
        return _read_split(path, archive, "test")


def file_md5(path: Path) -> str:
    """Return the MD5 of a file in hexadecimal digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _load_synthetic() -> Dataset:
    from .synthetic import SYNTHETIC_VERSION, make_split

    train_images, train_labels = make_split("train")
    val_images, val_labels = make_split("val")
    digest = _content_hash((train_images, train_labels, val_images, val_labels))
    digest.update(f"synthetic {SYNTHETIC_VERSION}".encode())
    fingerprint = Fingerprint("synthetic", "synthetic", digest.hexdigest()[:32])
    return Dataset(train_images, train_labels, val_images, val_labels, fingerprint)


def _content_hash(arrays: tuple[Array, ...]) -> hashlib._Hash:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest


def _open_archive(path: Path) -> zipfile.ZipFile:
    try:
        if not path.exists():
            raise DataError(missing_data_message(path.parent))
    except OSError as error:  # no way into the folder, a name of 300 letters
        raise DataError(
            f"{path} cannot be read ({error.strerror}); name another folder with --data-root"
        ) from None
    if not path.is_file():
        raise DataError(f"{path} is not a regular file; it should be BloodMNIST's npz archive")
    try:
        return zipfile.ZipFile(path)
    except PermissionError:
        raise DataError(f"no permission to read {path}") from None
    except Exception as error:  # zipfile meets a damaged directory with half a dozen kinds
        raise _unusable(path, f"not a complete npz archive ({error})") from None


def missing_data_message(folder: Path) -> str:
    """Return what to do where `folder` has no data file."""
    return (
        f"{FILE_NAME} is not in {folder}; run `bloodsearch data fetch`, name its folder with "
        "--data-root or BLOODSEARCH_DATA, or try the program out with --dataset synthetic"
    )


def _unusable(path: Path, why: str) -> DataError:
    # numpy and zipfile quote the content, which may be binary
    why = " ".join(why.split())[:150]
    return DataError(f"{path} cannot be used: {why}; move it away and run `bloodsearch data fetch`")


def _check_headers(path: Path, archive: zipfile.ZipFile) -> None:
    """Check key, dtype and shape of all six arrays from their headers; no pixel is read."""
    names = set(archive.namelist())
    for split, n in N_IMAGES.items():
        shapes: dict[str, set[tuple[int, ...]]] = {
            f"{split}_images.npy": {(n, IMAGE_SIZE, IMAGE_SIZE, N_CHANNELS)},
            f"{split}_labels.npy": {(n, 1), (n,)},
        }
        for member, allowed in shapes.items():
            if member not in names:
                raise _unusable(path, f"the array {member.removesuffix('.npy')} is missing")
            if archive.getinfo(member).file_size > MAX_ARRAY_BYTES:
                raise _unusable(path, f"{member} claims {archive.getinfo(member).file_size} bytes")
            shape, dtype = _read_header(path, archive, member)
            if dtype != np.uint8:
                raise _unusable(path, f"{member} holds {dtype}, not uint8")
            if shape not in allowed:
                raise _unusable(path, f"{member} has shape {shape}, not {max(allowed)}")


def _read_header(
    path: Path, archive: zipfile.ZipFile, member: str
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    try:
        with archive.open(member) as file:
            version = npy_format.read_magic(file)
            read = {
                (1, 0): npy_format.read_array_header_1_0,
                (2, 0): npy_format.read_array_header_2_0,
            }[version]
            shape, _, dtype = read(file)
    except Exception as error:  # ValueError, KeyError, zlib.error, RuntimeError (encrypted), ...
        raise _unusable(path, f"{member} is not a numpy array ({error})") from None
    return shape, dtype


def _read_split(path: Path, archive: zipfile.ZipFile, split: Split) -> tuple[Array, Array]:
    images = _read_array(path, archive, f"{split}_images.npy")
    labels = _read_array(path, archive, f"{split}_labels.npy").reshape(-1)
    if labels.max() >= N_CLASSES:
        raise _unusable(path, f"{split}_labels holds {labels.max()}; labels are 0..{N_CLASSES - 1}")
    absent = [name for label, name in enumerate(CLASS_NAMES) if label not in labels]
    if absent:
        _log.warning(
            "%s: no image of the class %s in the %s split; its scores cannot be measured there",
            path,
            " or ".join(absent),
            split,
        )
    return images, labels


def _read_array(path: Path, archive: zipfile.ZipFile, member: str) -> Array:
    try:
        with archive.open(member) as file:
            array: Array = npy_format.read_array(file, allow_pickle=False)
    except Exception as error:  # as above
        raise _unusable(path, f"{member} is damaged ({error})") from None
    return np.ascontiguousarray(array)
