"""Ends a process that hangs after a signal."""

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
    """End the process `limit_s` seconds after SIGINT or SIGTERM, unless the block ends earlier.

    A database driver may block the main thread for minutes (a lock, a server that does not answer). Python's
    signal handlers do not run meanwhile, but the interpreter writes a byte for each signal at once. Call from
    the main thread.

    Args:
        limit_s: Seconds between the signal and the end.
        last_act: Called before the process ends.
        exit_code: The code with which the process ends.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    left = threading.Event()

    def watch() -> None:
        while received := reader.recv(1):
            if received[0] in SIGNALS:
                if not left.wait(limit_s):
                    last_act()
                    os._exit(exit_code)
                return

    previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        left.set()
        signal.set_wakeup_fd(previous)
        writer.close()
        thread.join()
        reader.close()
