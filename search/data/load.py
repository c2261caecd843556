"""Load data sets: checked, hashed and kept in memory as uint8. The test split stays sealed.

Only `open_test_split` reads test images, and only the final evaluation calls it
(tests/search/test_imports.py proves that nothing else does).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from ..errors import DataError, RefusedError
from . import registry
from .archive import Archive, Array, check_layout, count_classes, open_archive
from .info import SPLITS, DatasetInfo, Fingerprint, Provenance, Split
from .places import Named, Source, find, missing_data_message, name_of

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dataset:
    """Train and validation split: images (n, s, s, c) uint8, labels (n,) uint8."""

    train_images: Array
    train_labels: Array
    val_images: Array
    val_labels: Array
    fingerprint: Fingerprint
    groups: NDArray[np.int64] | None = None
    """The group of each training and each validation image (n,): those of a patient belong together."""

    @property
    def info(self) -> DatasetInfo:
        """Return the description of the data set."""
        return self.fingerprint.info

    @property
    def n_groups(self) -> int | None:
        """Return the number of groups in both splits; None for data without groups."""
        return None if self.groups is None else len(np.unique(self.groups))


def joined(data: Dataset) -> Dataset:
    """Return `data` with its validation split added to the training split. The former is unchanged."""
    return replace(
        data,
        train_images=np.concatenate([data.train_images, data.val_images]),
        train_labels=np.concatenate([data.train_labels, data.val_labels]),
        groups=None,
    )


def dataset_info(dataset: Named, root: Path | None = None) -> DatasetInfo:
    """Return the description of a data set. Reads no file for a set of the registry.

    Raises UsageError for an unknown name, DataError for a file that cannot be used.
    """
    source = find(dataset, root)
    if source is None or not source.is_own:
        return _registered(name_of(dataset) if source is None else source.name)
    with _open(source) as archive:
        return _own_info(source, archive)


def import_record(dataset: Named, root: Path | None = None) -> dict[str, Any]:
    """Return what `bloodsearch data import` wrote into the file; empty for any other data.

    Raises UsageError for an unknown name, DataError for a file that cannot be used.
    """
    source = find(dataset, root)
    if source is None or not source.is_own:
        return {}
    with _open(source) as archive:
        return dict(archive.info().model_extra or {})


def load_dataset(dataset: Named, root: Path | None = None) -> Dataset:
    """Load and check the train and validation splits of `dataset`.

    Raises DataError if the file is missing or is not that data set. Never downloads.
    """
    source = find(dataset, root)
    if source is None:
        return _load_synthetic()
    if not source.is_own:
        _registered(source.name)  # refused before its file is looked for
    with _open(source) as archive:
        info = _own_info(source, archive) if source.is_own else _registered(source.name)
        if not source.is_own:
            _check_exactly(archive, info)
        _check_memory(source.path, info)
        train_images, train_labels = _read_split(archive, info, "train")
        val_images, val_labels = _read_split(archive, info, "val")
        groups = archive.read_groups(info.n_images) if source.is_own else None
        digest = _content_hash((train_images, train_labels, val_images, val_labels))
        if groups is not None:
            digest.update(_content_hash((groups,)).digest())
        # The test arrays enter with the checksums in the archive's directory: a changed test split gives
        # another hash although no test image is read.
        for name in ("test_images", "test_labels"):
            digest.update(f"{archive.checksum(name):08x}".encode())
    if source.is_own:
        _check_training_classes(archive, train_labels, info)
    fingerprint = Fingerprint(
        source.name,
        _provenance(source),
        digest.hexdigest()[:32],
        info if source.is_own else None,
        source.given,
    )
    return Dataset(train_images, train_labels, val_images, val_labels, fingerprint, groups)


def check_same(actual: Fingerprint, expected: Fingerprint) -> None:
    """Raise RefusedError unless `actual` is the data set that a study was searched on."""
    if actual.content_hash != expected.content_hash:
        raise RefusedError(
            f"the data changed: the study was searched on {expected.content_hash}, "
            f"found {actual.content_hash}; point --data-root at the original file"
        )


def open_test_split(
    dataset: Named,
    root: Path | None,
    *,
    expected: Fingerprint,
    record: Callable[[], object] = lambda: None,
    data: Dataset | None = None,
) -> tuple[Array, Array]:
    """Return the test split: images (n, s, s, c), labels (n,). For the final evaluation alone.

    First the data are checked, the labels and the images' checksum among them. Then `record` writes the
    opening down, then the images are read: data that are missing or wrong cost no opening. Raises
    RefusedError when the data are not those of `expected`, DataError when the file cannot be read, and what
    `record` raises.

    Args:
        dataset: The data set.
        root: The folder with the file; None: the default one.
        expected: The data that the study was searched on.
        record: Writes the ledger row.
        data: The train and validation splits, if they were loaded from the same place just now.
    """
    data = data or load_dataset(dataset, root)
    check_same(data.fingerprint, expected)
    source = find(dataset, root)
    if source is None:
        from .synthetic import make_split

        record()
        return make_split("test")
    with _open(source) as archive:
        archive.read_labels("test", len(data.info.classes))
        archive.check("test_images")
        record()
        return _read_split(archive, data.info, "test")


def file_md5(path: Path) -> str:
    """Return the MD5 of a file in hexadecimal digits. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@contextmanager
def _open(source: Source) -> Iterator[Archive]:
    path = source.path
    if source.is_own:
        missing = f"there is no file {path}; name an npz file, or its folder with --data-root"
        cure = "`bloodsearch data import` writes such a file"
    else:
        missing = missing_data_message(path)
        cure = "move it away and run `bloodsearch data fetch`"
        if source.name != registry.DEFAULT:
            cure += f" --dataset {source.name}"
    with open_archive(path, missing=missing, cure=cure) as archive:
        yield archive


def _own_info(source: Source, archive: Archive) -> DatasetInfo:
    """Return the description of a person's own file, from its headers and its array `info`."""
    size, channels, n_images = check_layout(archive)
    info = archive.info()
    n_classes = count_classes(archive, info)
    return DatasetInfo(
        name=source.name,
        title=info.title or source.path.stem,
        task=info.task or ("binary" if n_classes == 2 else "multi-class"),
        classes=info.classes or tuple(f"class {i}" for i in range(n_classes)),
        size=size,
        channels=3 if channels == 3 else 1,
        n_images=n_images,
        crop=info.crop,
        smallest=info.smallest,
        about=info.about,
        source=info.source,
        license=info.license,
    )


def _registered(name: str) -> DatasetInfo:
    """Return the description of a registered set. Raises DataError for one that cannot be trained."""
    info = registry.registered(name)
    if info.task == "multi-label":
        raise DataError(
            f"{info.title} has several labels per image, and bloodsearch trains one label per image; "
            f"choose another set, such as {', '.join(registry.names()[2:5])}"
        )
    return info


def _check_exactly(archive: Archive, info: DatasetInfo) -> None:
    """Check key, dtype and shape of all six arrays of a registered set; no pixel is read."""
    side = (info.size, info.size) if info.channels == 1 else (info.size, info.size, 3)
    for split in SPLITS:
        n = info.n_images[split]
        for name, allowed in (
            (f"{split}_images", {(n, *side)}),
            (f"{split}_labels", {(n, 1), (n,)}),
        ):
            header = archive.header(name)
            if header.dtype != np.uint8:
                raise archive.unusable(f"{name}.npy holds {header.dtype}, not uint8")
            if header.shape not in allowed:
                raise archive.unusable(f"{name}.npy has shape {header.shape}, not {max(allowed)}")


def _check_memory(path: Path, info: DatasetInfo) -> None:
    """Raise DataError for images that do not fit into the memory that is free."""
    n = info.n_images["train"] + info.n_images["val"]
    needed, free = n * info.channels * info.size**2, psutil.virtual_memory().available
    if needed > free:
        raise DataError(
            f"{path} holds {needed / 2**30:.1f} GiB of training and validation images, and "
            f"{free / 2**30:.1f} GiB of memory are free; use a smaller size of the set, such as NAME@64"
        )


def _read_split(archive: Archive, info: DatasetInfo, split: Split) -> tuple[Array, Array]:
    images = archive.read_images(split)
    labels = archive.read_labels(split, len(info.classes))
    absent = [name for label, name in enumerate(info.classes) if label not in labels]
    if absent:
        _log.warning(
            "%s: no image of the class %s in the %s split; its scores cannot be measured there",
            archive.path,
            " or ".join(absent),
            split,
        )
    return images, labels


def _check_training_classes(archive: Archive, train_labels: Array, info: DatasetInfo) -> None:
    absent = [i for i in range(len(info.classes)) if i not in train_labels]
    if absent:
        raise archive.unusable(
            f"train_labels has no image of the label {absent[0]} ({info.classes[absent[0]]}); number the "
            "classes 0, 1, 2, ... without gaps"
        )


def _provenance(source: Source) -> Provenance:
    if source.is_own:
        return "own"
    is_official = file_md5(source.path) == registry.official(source.name).md5
    return "official" if is_official else "unofficial"


def _load_synthetic() -> Dataset:
    from .synthetic import SYNTHETIC_VERSION, make_split

    train_images, train_labels = make_split("train")
    val_images, val_labels = make_split("val")
    digest = _content_hash((train_images, train_labels, val_images, val_labels))
    digest.update(f"synthetic {SYNTHETIC_VERSION}".encode())
    fingerprint = Fingerprint(registry.SYNTHETIC, "synthetic", digest.hexdigest()[:32])
    return Dataset(train_images, train_labels, val_images, val_labels, fingerprint)


def _content_hash(arrays: tuple[NDArray[Any], ...]) -> hashlib._Hash:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str(array.shape).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest
