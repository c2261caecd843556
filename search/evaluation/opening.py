"""Opening the test split: the data are checked, the opening is written down, then the images are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data.info import Fingerprint
from ..data.load import Dataset, open_test_split
from ..database.storage import Storage
from . import ledger, openings_file


def open_on_the_record(
    storage: Storage,
    study_name: str,
    fingerprint: Fingerprint,
    *,
    trial: int,
    n_replicates: int,
    data_root: Path | None,
    forced: bool,
    data: Dataset | None = None,
) -> tuple[int, NDArray[np.uint8], NDArray[np.uint8]]:
    """Check the data, write the opening down, read the test split: the only way to its images.

    Returns the ledger row's number, images (n, s, s, c) and labels (n,). Raises RefusedError when the data
    are not the study's, or the split was opened before and `forced` is not set; DataError without data.

    Args:
        storage: Where the ledger is.
        study_name: The study that the opening is for.
        fingerprint: The data that the study was searched on.
        trial: The winner's number, or ledger.ALL.
        n_replicates: Models that will be scored.
        data_root: The folder with the data; None: the default one.
        forced: Whether the split may be opened again.
        data: The other splits, if they were loaded from there just now.
    """
    opening = 0

    def record() -> None:
        nonlocal opening
        about = {
            "trial": trial,
            "n_replicates": n_replicates,
            "data_hash": fingerprint.content_hash,
            "forced": forced,
        }
        opening = ledger.record_opening(
            storage,
            study_name,
            trial=trial,
            n_replicates=n_replicates,
            data_hash=fingerprint.content_hash,
            forced=forced,
        )
        row = {"study": study_name, "storage": storage.shown, "opening": opening, **about}
        openings_file.append(row | ledger.signature(), fingerprint, data_root)

    images, labels = open_test_split(
        fingerprint, data_root, expected=fingerprint, record=record, data=data
    )
    return opening, images, labels


def count_openings(
    storage: Storage, study_name: str, fingerprint: Fingerprint, data_root: Path | None
) -> dict[str, int]:
    """Return the openings for this study, of these data in the storage, and in the file beside the data."""
    return {
        "test_openings": len(ledger.openings(storage, study_name)),
        "test_openings_in_storage": len(
            ledger.openings(storage, data_hash=fingerprint.content_hash)
        ),
        "test_openings_beside_data": openings_file.count(fingerprint, data_root),
    }
