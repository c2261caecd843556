"""Asked to stop: by a signal, by `bloodsearch stop`, or because the supervisor has died."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

from ..errors import Interrupted


class Drain:
    """Set once, by a signal, by `bloodsearch stop` or by the supervisor's death.

    Before `begin` there is nothing to give back: a request then ends the process at once, which loads
    libraries and data for seconds.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._begun = False

    def __call__(self) -> bool:
        return self._event.is_set()

    def begin(self) -> None:
        self._begun = True

    def request(self) -> None:
        if not self._begun:
            os._exit(Interrupted.exit_code)
        self._event.set()

    def wait(self, seconds: float) -> None:
        self._event.wait(seconds)

    def on_signals(self) -> None:
        """SIGINT and SIGTERM ask for a drain; a second one ends the process at once."""

        def handle(number: int, frame: object) -> None:
            if self():
                os._exit(Interrupted.exit_code)
            self.request()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, handle)

    def on_closed_stdin(self) -> None:
        """Drain when standard input closes: the supervisor holds its other end and has died."""

        def watch() -> None:
            with contextlib.suppress(OSError, ValueError):
                while os.read(0, 1024):
                    pass
            self.request()

        threading.Thread(target=watch, daemon=True).start()
