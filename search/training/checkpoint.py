"""Checkpoints: written whole or not at all, read without unpickling classes.

A file holds tensors, numbers and one JSON string, so `torch.load(weights_only=True)` reads it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch

from ..errors import DataError


def save(path: Path, payload: dict[str, Any]) -> None:
    """Write `payload` (tensors, numbers, strings and containers of them) to `path`, atomically.

    Raises OSError when the disk is full or the folder cannot be written; `path` then still holds
    what it held before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(payload, file)
        os.replace(temporary, path)
    except RuntimeError as error:  # torch's writer turns ENOSPC into one
        raise OSError(f"cannot write {path}: {error}") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def load(path: Path) -> dict[str, Any]:
    """The payload of a checkpoint, on the CPU: generator states must be there on any device.

    Raises FileNotFoundError when there is none, DataError when it is damaged or holds anything
    but tensors and plain values (a pickled object is refused, not run).
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
