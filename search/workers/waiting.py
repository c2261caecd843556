"""Tell the user which workers elsewhere the search waits for."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from ..database.outage import is_outage
from .registry import Registry, WorkerStatus
from .worker import poll_s

LOOK_EVERY_S = 1.0
"""Seconds between two looks at the storage."""
WAIT_NOTICE_S = 10.0
"""Seconds of waiting before the first notice."""


class WaitNotice:
    """Names the workers that hold the last trials while the workers of this process have none.

    In a copied database they may not exist, and nothing is trained until their leases end.
    """

    def __init__(self, registry: Registry, on_message: Callable[[str], None]) -> None:
        self._registry, self._on_message = registry, on_message
        self._looked_at = time.monotonic()
        self._list_at = self._looked_at
        """When the list of all workers may be read again."""
        self._waiting_since: float | None = None
        self._announced: set[str] = set()

    def tick(self, own: Collection[str]) -> None:
        """Look at the storage, at most once per LOOK_EVERY_S. `own` are the ids of this process's workers."""
        now = time.monotonic()
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        try:
            # a thousand processes that train must not read a thousand rows each
            if self._registry.any_holds(own):
                self._waiting_since = None
                return
            if now < self._list_at:
                return
            workers = self._registry.workers()
        except Exception as error:
            if is_outage(error):
                return  # the workers wait for the storage as well
            raise
        self._list_at = now + poll_s(len(workers))
        holders = [w for w in workers if w.trial_id is not None]
        if not holders or any(w.worker_id in own for w in holders):
            self._waiting_since = None
            return
        if self._waiting_since is None:
            self._waiting_since = now
        new = [worker for worker in holders if worker.worker_id not in self._announced]
        if new and now - self._waiting_since >= WAIT_NOTICE_S:
            self._announced |= {worker.worker_id for worker in new}
            self._on_message(self._text(new))

    def _text(self, holders: list[WorkerStatus]) -> str:
        names = ", ".join(
            f"process {w.pid} on {w.host} (last heartbeat {w.beat_age_s:.0f} s ago)"
            for w in holders
        )
        times = self._registry.times
        longest_s = times.n_leases_if_alive * times.lease_s
        return (
            f"waiting for trials held by {names}; a worker without heartbeats is given up after "
            f"{times.lease_s:.0f} s, or after {longest_s:.0f} s if its process is alive; Ctrl-C stops "
            "waiting, and the same command resumes"
        )
