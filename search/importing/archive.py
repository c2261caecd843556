"""Write the data set: an npz file of MedMNIST's layout, with the same bytes for the same pictures.

The arrays are stored without compression, because another zlib compresses to other bytes. They are written
in parts, so memory does not grow with the number of pictures.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy_format

from ..images.preparation import Preparation
from .listing import SPLITS, Split
from .reading import Scratch, as_gray

PART = 512
"""Images that are in memory at a time."""
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time that a zip file can hold, for all members."""


def write_archive(
    path: Path,
    scratch: Scratch,
    places: Mapping[Split, Sequence[int]],
    labels: Mapping[Split, Sequence[int]],
    groups: Mapping[Split, Sequence[int]],
    rule: Preparation,
    info: bytes,
) -> None:
    """Write the three splits and the description. Raises OSError.

    Args:
        path: The file to write.
        scratch: The prepared RGB pixels.
        places: The numbers of each split's pictures in `scratch`, in the order of the arrays.
        labels: The class of each of them.
        groups: The group of each of them, for the splits whose groups are kept.
        rule: The rule of the data set, with one or three channels.
        info: JSON as UTF-8.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for split in SPLITS:
            chosen = places[split]
            with _member(archive, f"{split}_images", (len(chosen), *rule.shape)) as file:
                for start in range(0, len(chosen), PART):
                    images = scratch.read(chosen[start : start + PART])
                    file.write((as_gray(images) if rule.channels == 1 else images).tobytes())
            with _member(archive, f"{split}_labels", (len(chosen), 1)) as file:
                file.write(np.array(labels[split], np.uint8).tobytes())
        for split, chosen in groups.items():
            with _member(archive, f"{split}_groups", (len(chosen),), "<u4") as file:
                file.write(np.array(chosen, "<u4").tobytes())
        with _member(archive, "info", (len(info),)) as file:
            file.write(info)


def _member(
    archive: zipfile.ZipFile, name: str, shape: tuple[int, ...], dtype: str = "|u1"
) -> IO[bytes]:
    """Open an array for writing, with its header written."""
    entry = zipfile.ZipInfo(f"{name}.npy", EPOCH)
    entry.external_attr = 0o644 << 16
    file = archive.open(entry, "w", force_zip64=True)
    npy_format.write_array_header_1_0(
        file, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return file
