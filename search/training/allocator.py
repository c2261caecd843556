"""Make the C library keep freed memory between two training steps.

glibc returns every large block to the system when it is freed. A training step frees and allocates the
same blocks again, and each time the system provides zeroed pages, with one page fault per 4 KiB. This takes
up to half of the time of a step (docs/concepts/engine.md). Other C libraries are left as they are.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator

import torch

# the parameters of mallopt(3)
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None


@functools.cache
def keep_freed_blocks() -> bool:
    """Serve large blocks from the heap and do not shrink it, for the whole process.

    Returns False without glibc.
    """
    glibc = _glibc()
    if glibc is None:
        return False
    settings = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 64 * 2**20}
    accepted = [glibc.mallopt(name, value) for name, value in settings.items()]
    return all(accepted)


@contextlib.contextmanager
def training_memory(device: torch.device) -> Iterator[None]:
    """Keep freed blocks within the context; return them to the system or the device's driver at its end."""
    keep_freed_blocks()
    try:
        yield
    finally:
        glibc = _glibc()
        if glibc is not None:
            glibc.malloc_trim(0)
        if device.type == "cuda":
            torch.cuda.empty_cache()
