"""Checkpoints: written atomically, read without unpickling classes.

A file holds tensors, numbers and one JSON string, so `torch.load(weights_only=True)` reads it.
"""

from __future__ import annotations

import errno
import io
import warnings
from pathlib import Path
from typing import Any

import torch

from ..errors import DataError
from ..files import atomic_write


def save(path: Path, payload: dict[str, Any]) -> None:
    """Write `payload` (tensors, numbers, strings and containers of them) to `path`, atomically.

    Raises OSError when the disk is full or the folder cannot be written; `path` then still holds
    what it held before.
    """
    buffer = io.BytesIO()  # torch's own writer turns a full disk into "unexpected pos 1344 vs 1238"
    torch.save(payload, buffer)
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes(buffer.getbuffer())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OSError(error.errno, f"disk full: cannot write {path}") from None
        raise


def load(path: Path) -> dict[str, Any]:
    """Return the payload of a checkpoint, on the CPU, where generator states must be.

    Raises FileNotFoundError if there is none, DataError if it is damaged or contains anything but
    tensors and plain values. A pickled object is refused, not run.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what a damaged file seems to hold
            payload = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # torch meets damage with a dozen kinds, IndexError among them
        reason = str(error).strip().split("\n")[0][:120]
        raise DataError(f"{path} is not a checkpoint of this program ({reason})") from None
    if not isinstance(payload, dict):
        raise DataError(f"{path} is not a checkpoint of this program (no dictionary)")
    return payload
