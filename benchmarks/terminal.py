"""A command in a terminal of its own, kept in memory: what its screen shows, also as a picture.

with Terminal(["bloodsearch", "optimize", ...], columns=80, rows=24) as terminal:
    terminal.wait_for("of 8 trials")
    print(terminal.text())
"""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

HISTORY = 1000
_COLORS = {"brown": "yellow"}
"""pyte's names of colours that Rich calls otherwise."""


class Terminal:
    """A process on a pseudo-terminal, and the screen that its output makes."""

    def __init__(
        self, command: Sequence[str], *, columns: int = 80, rows: int = 24,
        environment: Mapping[str, str] | None = None, cwd: Path | None = None,
    ) -> None:  # fmt: skip
        self.screen = pyte.HistoryScreen(columns, rows, history=HISTORY)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        """All that the process has written."""
        self._master, slave = pty.openpty()
        self._set_size(columns, rows)
        variables = {**os.environ, "TERM": "xterm-256color", **(environment or {})}
        variables = {k: v for k, v in variables.items() if k not in ("COLUMNS", "LINES")}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, cwd=cwd, env=variables,
            start_new_session=True, preexec_fn=_lead_terminal,
        )  # fmt: skip
        os.close(slave)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._master)

    def read(self, seconds: float) -> None:
        """Show what the process writes within `seconds`."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([self._master], [], [], left)[0]:
                return
            try:
                data = os.read(self._master, 65536)
            except OSError:  # EIO: the process has ended
                return
            self.raw += data
            self.stream.feed(data)

    def watch(self, seconds: float) -> None:
        """Show what the process writes for `seconds`, also while it writes nothing."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.read(min(left, 1.0))
            time.sleep(0.01)

    def wait_for(self, text: str, *, seconds: float = 30.0) -> str:
        """Read until `text` is on the screen, and return the screen. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.read(0.1)
            if text in self.text():
                return self.text()
            if self.process.poll() is not None:
                self.read(0.2)
                break
        if text not in self.text():
            raise TimeoutError(f"{text!r} is not on the screen:\n{self.text()}")
        return self.text()

    def wait(self, *, seconds: float = 60.0) -> int:
        """Read until the process ends, and return its exit code."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < deadline:
            self.read(0.1)
        self.read(0.2)
        return self.process.wait(timeout=1)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the terminal, as dragging a window's corner does.

        Lines that get too long are cut, as in xterm. They are not wrapped.
        """
        self.screen.resize(rows, columns)
        self._set_size(columns, rows)
        os.killpg(self.process.pid, signal.SIGWINCH)

    def press_ctrl_c(self) -> None:
        """Send what the Ctrl-C key sends."""
        os.write(self._master, b"\x03")

    def text(self) -> str:
        """Return the lines on the screen, without the spaces at their ends."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def scrolled(self) -> str:
        """Return the lines that have left the screen at its top."""
        return "\n".join(
            "".join(line[x].data for x in range(self.screen.columns)).rstrip()
            for line in self.screen.history.top
        )

    def svg(self, title: str) -> str:
        """Return a picture of the screen, without the empty lines at its end."""
        n_rows = len(self.text().split("\n"))
        # a file of its own: a recording console also prints
        with open(os.devnull, "w") as nowhere:
            console = Console(
                record=True, width=self.screen.columns, file=nowhere, force_terminal=True,
                color_system="256", legacy_windows=False,
            )  # fmt: skip
            for y in range(n_rows):
                console.print(self._line(y), no_wrap=True, crop=True)
        return console.export_svg(title=title)

    def _line(self, y: int) -> Text:
        chars = [self.screen.buffer[y][x] for x in range(self.screen.columns)]
        runs = itertools.groupby(chars, key=lambda char: (char.fg, char.bold, char.italics))
        line = Text()
        for (color, bold, italic), run in runs:
            text = "".join(char.data for char in run)
            line.append(text, Style(color=_color(color), bold=bold, italic=italic))
        line.rstrip()
        return line

    def _set_size(self, columns: int, rows: int) -> None:
        size = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)


def _lead_terminal() -> None:
    """Let Ctrl-C reach this process, also where its parent ignores it as a background job."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _color(name: str) -> str | None:
    if name == "default":
        return None
    if len(name) == 6 and all(c in "0123456789abcdef" for c in name):
        return f"#{name}"
    return _COLORS.get(name, name.replace("bright", "bright_"))
