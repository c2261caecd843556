"""Files that appear under their names whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def atomic_write(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `path` that replaces `path` when the block ends without an error.

    After an error, or a kill, `path` holds what it held before. Each writer has a temporary name of its own.
    Raises OSError when the folder cannot be written.

    Args:
        path: The file to write. Its folder is created if need be.
        durable: Whether the content must survive a power failure from the moment the block ends.
    """
    if path.exists() and not path.is_file():  # or a device would be replaced: --out /dev/null
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    # not tempfile: its files have mode 0600 whatever the umask
    temporary = path.with_name(f".part-{secrets.token_hex(8)}{path.suffix[:16]}")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
        if durable:
            _sync(temporary)
        os.replace(temporary, path)
        if durable:
            _sync(path.parent)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


@contextlib.contextmanager
def reserved(folder: Path, n_bytes: int = 1 << 20) -> Iterator[None]:
    """Occupy `n_bytes` on the disk of `folder` until the block ends: a result then finds room.

    Creates the folder. Raises OSError when it cannot be written or the disk is full.
    """
    with contextlib.ExitStack() as stack:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f".part-{secrets.token_hex(8)}"
        stack.callback(path.unlink, missing_ok=True)
        path.write_bytes(bytes(n_bytes))
        _sync(path)
        yield


def write_text(path: Path, text: str, *, durable: bool = False) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all. Raises OSError."""
    with atomic_write(path, durable=durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write `data` to `path` as JSON, whole or not at all, durably.

    Raises OSError, and ValueError for NaN or infinity, which JSON does not have.
    """
    write_text(path, json.dumps(data, indent=2, allow_nan=False) + "\n", durable=True)


def finite(value: Any) -> Any:
    """Return `value` with None in place of every float that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def _sync(path: Path) -> None:
    """Flush a file or a folder to the disk. Raises OSError for a file."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if not path.is_dir():  # some file systems refuse to flush folders
            raise
    finally:
        os.close(handle)
