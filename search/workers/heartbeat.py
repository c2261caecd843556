"""A background thread that stores the worker's heartbeats."""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from collections.abc import Iterator

from ..database.outage import is_outage
from ..errors import LostStudyError
from .liveness import Identity
from .registry import Registry
from .shutdown import Drain

RETRY = (0.1, 0.3)
"""The pause before a heartbeat that failed is tried again, as a part of the interval. On a server without a
free connection half of them fail; six in a row, an interval apart, cost a healthy worker its lease."""

_log = logging.getLogger(__name__)


class Heartbeat:
    """Store a heartbeat every few seconds, also through an outage of the database.

    `lost` is set when the worker is no longer registered, because others declared it dead. The next
    claim registers it again and calls `registered`.
    """

    def __init__(self, registry: Registry, worker: Identity, drain: Drain) -> None:
        self._registry, self._worker, self._drain = registry, worker, drain
        self._done = threading.Event()
        self.lost = threading.Event()
        self._lock = threading.Lock()
        self._n_registered = 0

    def registered(self) -> None:
        """Clear `lost`: the worker is registered again and holds no trial from before."""
        with self._lock:
            self._n_registered += 1
            self.lost.clear()

    def send(self) -> bool:
        """Store one heartbeat and act on the answer. Return False if it failed; errors are logged."""
        n_before = self._n_registered
        try:
            reply = self._registry.heartbeat(self._worker)
        except LostStudyError:
            self.lost.set()  # the next write raises the error again, with its message
            return True
        except Exception as error:
            if not is_outage(error):
                _log.warning("heartbeat: %s", type(error).__name__)
            return False
        with self._lock:
            # when a suspended process resumes, a claim may register it while this answer is on its way
            if not reply.registered and n_before == self._n_registered:
                self.lost.set()
        if reply.drain:
            self._drain.request()
        return True

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Send heartbeats from a background thread while the block runs."""
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join(timeout=1)

    def _run(self) -> None:
        pause_s = heartbeat_s = self._registry.times.heartbeat_s
        while not self._done.wait(pause_s):
            pause_s = heartbeat_s * (1 if self.send() else random.uniform(*RETRY))
