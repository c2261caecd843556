"""Ends a process that a signal has asked to end, when it cannot do so itself."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def watchdog(limit_s: float, last_act: Callable[[], None], exit_code: int) -> Iterator[None]:
    """Ends the process `limit_s` after a SIGINT or SIGTERM, unless the block is left before.

    A database driver may keep the main thread for minutes (a lock, a server that does not answer), and
    no Python handler runs meanwhile. The byte that the interpreter writes for each handled signal
    comes at once. Needs the main thread.
    """
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    left = threading.Event()

    def watch() -> None:
        while received := ours.recv(1):
            if received[0] in SIGNALS:
                if not left.wait(limit_s):
                    last_act()
                    os._exit(exit_code)
                return

    previous = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(previous)
        theirs.close()
        thread.join()
        ours.close()
