"""A worker's sign of life, from a thread of its own."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from ..database.outage import is_outage
from .leases import Leases
from .liveness import Identity
from .registry import BEAT_S
from .shutdown import Drain

_log = logging.getLogger(__name__)


class Beat:
    """Tells the storage every few seconds that this worker lives, from a thread of its own.

    An outage does not end it: it goes on trying. `lost` is set when the storage no longer knows
    the worker, because others took it for dead; a claim makes it known again (`signed_in`).
    """

    def __init__(self, leases: Leases, worker: Identity, drain: Drain) -> None:
        self._leases, self._worker, self._drain = leases, worker, drain
        self._done = threading.Event()
        self.lost = threading.Event()
        self._lock = threading.Lock()
        self._n_sign_ins = 0

    def signed_in(self) -> None:
        """The storage knows the worker again: what was lost before concerns no trial that it holds."""
        with self._lock:
            self._n_sign_ins += 1
            self.lost.clear()

    def run(self) -> None:
        while not self._done.wait(BEAT_S):
            self.beat()

    def beat(self) -> None:
        n_before = self._n_sign_ins
        try:
            known, drain = self._leases.beat(self._worker)
        except Exception as error:
            if not is_outage(error):
                _log.warning("beat: %s", type(error).__name__)
            return
        with self._lock:
            # a process that wakes up beats and claims at once: an answer from before the claim is old
            if not known and n_before == self._n_sign_ins:
                self.lost.set()
        if drain:
            self._drain.request()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._done.set()
            thread.join(timeout=1)
