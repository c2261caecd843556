"""A worker's sign of life, from a thread of its own."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from search.drain import Drain
from search.leases import Leases
from search.liveness import Identity
from search.outage import is_outage
from search.registry import BEAT_S

_log = logging.getLogger(__name__)


class Beat:
    """Tells the storage every few seconds that this worker lives, from a thread of its own.

    An outage does not end it: it goes on trying. `lost` is set when the storage no longer knows
    the worker, because others took it for dead.
    """

    def __init__(self, leases: Leases, worker: Identity, drain: Drain) -> None:
        self._leases, self._worker, self._drain = leases, worker, drain
        self._done = threading.Event()
        self.lost = threading.Event()

    def run(self) -> None:
        while not self._done.wait(BEAT_S):
            try:
                known, drain = self._leases.beat(self._worker)
            except Exception as error:
                if not is_outage(error):
                    _log.warning("beat: %s", type(error).__name__)
                continue
            if not known:
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
