"""Download a data set from its official address, completely or not at all."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ..errors import DataError
from ..files import atomic_write
from . import registry

# medmnist's own downloader goes through torchvision, whose wheels do not import beside a CPU build of torch,
# and it writes under the final name.
CHUNK_BYTES = 1 << 18


def fetch(
    dataset: str,
    root: Path,
    *,
    url: str | None = None,
    md5: str | None = None,
    progress: Callable[[int, int | None], None] = lambda done, total: None,
    timeout_s: float = 30.0,
) -> Path:
    """Download a registered data set into the folder `root` and return the file's path.

    The file gets its name only after its MD5 is checked; an existing file is replaced only then.
    `progress` is called with bytes done and bytes in all (None if unknown). `url` and `md5` replace the
    official ones. Raises UsageError for a set without an official file, DataError with the address, the
    folder and the alternative when anything fails.
    """
    official = registry.official(dataset)
    url, md5 = url or official.url, md5 or official.md5
    target = root / official.file_name
    try:
        with ExitStack() as stack:
            try:
                temporary = stack.enter_context(atomic_write(target, durable=True))
            except OSError as error:
                raise DataError(
                    f"cannot write to {root} ({error.strerror}); choose another --data-root"
                ) from None
            with temporary.open("wb") as file:
                received = _stream(url, file.write, progress, timeout_s)
            if received != md5:
                raise DataError(
                    f"{url} gave a file with MD5 {received}, not the official {md5}; nothing was kept. "
                    f"Put {target.name} into {root} by hand, or use --dataset synthetic"
                )
        return target
    # URLError is an OSError; ValueError: an address or a header that makes no sense
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the response, and with it the connection
        reason = " ".join(str(getattr(error, "reason", error)).split())[:150]
        raise DataError(
            f"cannot download {url} ({reason or type(error).__name__}); put {target.name} into {root} by "
            "hand, or use --dataset synthetic"
        ) from None


def _stream(
    url: str,
    write: Callable[[bytes], object],
    progress: Callable[[int, int | None], None],
    timeout_s: float,
) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with urllib.request.urlopen(url, timeout=timeout_s) as response:
        length = response.headers.get("Content-Length")
        total, done = (int(length) if length else None), 0
        while chunk := response.read(CHUNK_BYTES):
            write(chunk)
            digest.update(chunk)
            done += len(chunk)
            progress(done, total)
    return digest.hexdigest()
