"""What workers print, collected line by line, so that it does not disturb a screen that is drawn in place."""

from __future__ import annotations

import contextlib
import os

PREFIX = "bloodsearch: "


class ChildLines:
    """A pipe that all workers of a supervisor use as their standard error."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)
        self._rest = b""

    def read(self) -> list[str]:
        """Return the whole lines that were printed since the last call, without the program's name."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._reader, 65536):
                self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        texts = (line.decode("utf-8", "replace").removeprefix(PREFIX).rstrip() for line in lines)
        return [text for text in texts if text]

    def close(self) -> list[str]:
        """Close the pipe and return what is left in it."""
        os.close(self.writer)
        self._rest += b"\n"
        try:
            return self.read()
        finally:
            os.close(self._reader)
