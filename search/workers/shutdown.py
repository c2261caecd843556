"""The graceful shutdown of a worker: by a signal, by `bloodsearch stop`, or after the supervisor's death."""

from __future__ import annotations

import contextlib
import os
import signal
import threading

from ..errors import Interrupted


class Drain:
    """The request to drain a worker. Calling it returns whether the request was made.

    Before `begin` the worker loads libraries and data for seconds and holds no trial. A request then ends
    the process at once.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._begun = False

    def __call__(self) -> bool:
        return self._event.is_set()

    def begin(self) -> None:
        """Let later requests wait for the worker to put its trial back."""
        self._begun = True

    def request(self) -> None:
        """Ask the worker to drain."""
        if not self._begun:
            os._exit(Interrupted.exit_code)
        self._event.set()

    def wait(self, seconds: float) -> None:
        """Wait for a request, at most `seconds`."""
        self._event.wait(seconds)

    def on_signals(self) -> None:
        """Drain on SIGINT and SIGTERM. A second SIGINT ends the process at once."""
        n_interrupts = 0

        def handle(number: int, frame: object) -> None:
            nonlocal n_interrupts
            # a SIGTERM may come twice without impatience: from a service manager, which sends it to all
            # processes of the service, and from the supervisor; one that is impatient kills
            n_interrupts += number == signal.SIGINT
            if n_interrupts > 1:
                os._exit(Interrupted.exit_code)
            self.request()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, handle)

    def on_closed_stdin(self) -> None:
        """Drain when standard input closes, because its other end was the supervisor's, which died."""

        def watch() -> None:
            with contextlib.suppress(OSError, ValueError):
                while os.read(0, 1024):
                    pass
            self.request()

        threading.Thread(target=watch, daemon=True).start()
