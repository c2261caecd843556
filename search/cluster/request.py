"""Which Ray cluster a search asks for workers, and what each worker takes of it. Imports no Ray."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ..errors import UsageError
from ..workers.slots import MAX_WORKERS, Slot

_CLIENT = re.compile(r"ray://[^/\s:]+:\d{1,5}/?")


@dataclass(frozen=True, slots=True)
class RayCluster:
    """A Ray cluster that places workers.

    Args:
        address: "auto" (the cluster that this machine belongs to), "ray://HOST:10001", or "local" (a cluster
            that is started on this machine alone, and ends with the process).
        cpus_per_worker: CPUs that Ray sets aside for a worker; None: the study's `training.threads`.
        gpus_per_worker: The share of a GPU that a worker takes, from 0 (it trains on CPUs) to 1.

    Raises UsageError for anything else.
    """

    address: str = "auto"
    cpus_per_worker: float | None = None
    gpus_per_worker: float = 0

    def __post_init__(self) -> None:
        if self.address not in ("auto", "local") and not _CLIENT.fullmatch(self.address):
            raise UsageError(f"--cluster {self.address}: use auto, local or ray://HOST:10001")
        cpus, gpus = self.cpus_per_worker, self.gpus_per_worker
        if cpus is not None and not (0 < cpus <= 1 or (cpus > 1 and cpus == int(cpus))):
            raise UsageError(f"--cpus-per-worker {cpus:g}: a share of one CPU, or a whole number")
        if not 0 <= gpus <= 1:
            raise UsageError(f"--gpus-per-worker {gpus:g}: from 0 to 1; a worker uses one GPU")

    def slots(self, workers: str, threads: int) -> list[Slot]:
        """Connect to the cluster and return one slot per worker; "auto": as many as it has room for now.

        Raises UsageError for a cluster that does not answer or a number that is none.
        """
        from .connection import connect, resources

        if workers != "auto" and not (workers.isdecimal() and 1 <= int(workers) <= MAX_WORKERS):
            raise UsageError(f'--workers {workers}: "auto" or a number from 1 to {MAX_WORKERS}')
        connect(self.address)
        found = resources()
        if self.cpus_per_worker is not None:
            threads = max(1, int(self.cpus_per_worker))
        n = self._room(found.cpus, found.gpus, threads) if workers == "auto" else int(workers)
        device = "cuda:0" if self.gpus_per_worker else "cpu"
        return [Slot(f"a Ray cluster ({found})", device, threads)] * n

    def cpus(self, threads: int) -> float:
        """Return the CPUs that Ray sets aside for a worker with `threads` threads."""
        return float(threads) if self.cpus_per_worker is None else self.cpus_per_worker

    def _room(self, cpus: float, gpus: float, threads: int) -> int:
        places = [cpus / self.cpus(threads)]
        if self.gpus_per_worker:
            # a GPU's shares cannot be put together from two GPUs
            places.append(int(gpus) * math.floor(1 / self.gpus_per_worker + 1e-9))
        return min(MAX_WORKERS, max(1, int(min(places))))
