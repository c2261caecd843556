"""Openings of the test split, written beside the data: copied and temporary databases are seen, too.

A line of JSON per opening, in a file next to the data set's and in one in the user's state folder, which
knows the openings of the user's other copies of the data. An opening on another machine with another copy of
the data is not seen. The synthetic set has no such file: its test split can be drawn again.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from .. import env
from ..data.info import Fingerprint
from ..data.places import file_of

SUFFIX = ".openings.jsonl"


def append(row: dict[str, Any], fingerprint: Fingerprint, data_root: Path | None) -> Path | None:
    """Write the row of an opening, and return the first file; None where no file can be written."""
    written = []
    line = (json.dumps(row, allow_nan=False) + "\n").encode()
    for path in _files(fingerprint, data_root):
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            # one write with O_APPEND: lines of two processes do not mix
            handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(handle, line)
                os.fsync(handle)
            finally:
                os.close(handle)
            written.append(path)
    return written[0] if written else None


def count(fingerprint: Fingerprint, data_root: Path | None) -> int:
    """Return how many openings of these data the files hold."""
    rows: dict[str, None] = {}
    places = _files(fingerprint, data_root)
    # a renamed file is the same data
    for path in (other for place in places for other in sorted(place.parent.glob(f"*{SUFFIX}"))):
        with contextlib.suppress(OSError):
            for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError):  # a line that was cut off
                    row = json.loads(line)
                    if isinstance(row, dict) and row.get("data_hash") == fingerprint.content_hash:
                        rows[line] = None
    return len(rows)


def _files(fingerprint: Fingerprint, data_root: Path | None) -> list[Path]:
    if fingerprint.dataset == "synthetic":
        return []
    data, state = file_of(fingerprint, data_root), env.state_folder()
    assert data is not None  # only the synthetic set has no file
    folders = [data.parent, *([] if state is None else [state])]
    return [folder / f"{data.stem}{SUFFIX}" for folder in folders]
