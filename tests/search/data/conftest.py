"""Tiny files in the shape of bloodmnist.npz."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests_support import shrink

Arrays = dict[str, NDArray[np.uint8]]
SIZES = {"train": 24, "val": 16, "test": 8}


@pytest.fixture
def tiny_sizes(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The three splits' sizes while the official ones are replaced by tiny ones."""
    shrink(monkeypatch, SIZES)
    return SIZES


def make_arrays() -> Arrays:
    """The six arrays of a tiny bloodmnist.npz, in the official file's shapes and dtypes."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in SIZES.items():
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, 28, 28, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(n, dtype=np.uint8) % 8).reshape(n, 1)
    return arrays


@pytest.fixture
def arrays() -> Arrays:
    return make_arrays()


@pytest.fixture
def write_npz(tmp_path: Path, tiny_sizes: dict[str, int]) -> Callable[[Arrays], Path]:
    """Writes arrays as bloodmnist.npz into the folder that it returns."""

    def write(arrays: Arrays) -> Path:
        np.savez_compressed(tmp_path / "bloodmnist.npz", **arrays)  # type: ignore[arg-type]
        return tmp_path

    return write
