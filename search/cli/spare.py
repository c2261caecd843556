"""A worker process that is started before its work is known, and imports what it will need meanwhile.

The supervisor's command spends a second on the study and its data, a worker two on importing torch. They do
so side by side. Then the worker reads one line from standard input: a JSON object with the `arguments` of
`worker-process` and the `environment` to add. Standard input stays open, as that of any worker.
"""

from __future__ import annotations

import json
import os


def main() -> None:
    """Import, wait for the line and become a worker. Ends without a word when standard input closes first."""
    import_all()
    line = _first_line()
    if not line:
        return
    work = json.loads(line)
    os.environ.update(work["environment"])
    from . import main as run_command

    run_command(["worker-process", *work["arguments"]])


def import_all() -> None:
    """Import what a worker imports until its first training step."""
    from ..trial import objective  # noqa: F401
    from ..workers import shutdown, worker  # noqa: F401


def _first_line() -> bytes:
    # byte by byte: what a buffered reader takes ahead is lost to the thread that watches standard input
    line = b""
    while (byte := os.read(0, 1)) not in (b"", b"\n"):
        line += byte
    return line if byte else b""


if __name__ == "__main__":
    main()
