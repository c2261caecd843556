"""Starts the workers of a supervisor in the cluster, and tells the user about places."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from .. import env
from ..data.info import Fingerprint
from ..errors import BloodsearchError, DataError
from ..workers.launch import PROGRAM, Task, Worker
from ..workers.slots import Slot
from .connection import resources, taken
from .node_data import read_data
from .place import ENVIRONMENT, Place
from .remote_worker import RemoteWorker

NOTICE_S = 5.0
"""How long the number of workers without a place stays the same before the user is told."""
START_S = 60.0
"""How long a worker that has a place may take to start. After that, what is taken is taken by others."""
FORWARDED: tuple[str, ...] = (
    env.CHECKPOINTS,
    env.LEASE_S,
    env.OUTAGE_S,
    env.WORKER_MB,
    env.KERNELS,
    "PGPASSWORD",
)
"""Variables that workers take from the driver. Others are those of their node."""


@dataclass(slots=True)
class ClusterLauncher:
    """Starts each worker in a place of its own.

    Args:
        fingerprint: The data of the study.
        cpus: What Ray sets aside for a worker.
        gpus: The same of a GPU.
        program: What follows the interpreter in a worker's command.
    """

    fingerprint: Fingerprint
    cpus: float
    gpus: float
    program: tuple[str, ...] = PROGRAM
    _lines: list[str] = field(default_factory=list, init=False)
    _said: set[str] = field(default_factory=set, init=False)
    _workers: list[RemoteWorker] = field(default_factory=list, init=False)
    _content: ray.ObjectRef[Any] | None = field(default=None, init=False)
    _unplaced: tuple[int, float] = field(default=(0, 0.0), init=False)
    """Workers that have not said where they are, and since when there are so many."""
    _noticed_at: float = field(default=0.0, init=False)
    _told: int = field(default=0, init=False)

    def start(self, task: Task, slot: Slot, worker_id: str, after: Worker | None) -> RemoteWorker:
        """Start a worker, in the place of `after` if that still exists, else wherever Ray has room."""
        environment = slot.environment() | self._forwarded()
        environment[env.STORAGE] = task.storage_url
        worker = RemoteWorker(
            worker_id,
            launcher=self,
            data_root=None if task.data_root is None else task.data_root.absolute(),
            program=list(self.program),
            arguments=task.arguments(slot, worker_id),
            environment=environment,
        )
        self._workers = [w for w in self._workers if w is not after] + [worker]
        try:
            if isinstance(after, RemoteWorker) and after.has_place:
                worker.start_after(after)
                return worker
            if after is not None:
                after.close()
            worker.start_in(self._new_place())
        except (RayError, ConnectionError) as error:
            text = str(error).strip().split("\n")[0][:200]
            raise BloodsearchError(
                f"the Ray cluster does not answer any more ({text}); run the same command again to resume"
            ) from error
        return worker

    def tell(self, line: str) -> None:
        """Show a line to the user."""
        self._lines.append(line)

    def tell_once(self, line: str) -> None:
        """Show a line to the user, once: many workers may have the same reason to end."""
        if line not in self._said:
            self._said.add(line)
            self.tell(line)

    def content(self, data_root: Path | None) -> ray.ObjectRef[Any]:
        """Return the data set's file in the object store, where it is put when the first node needs it.

        Raises DataError if this machine does not have it.
        """
        if self._content is None:
            content = read_data(self.fingerprint, data_root)
            if content is None:
                raise DataError(f"{self.fingerprint.info.title} is not here either")
            self._content = ray.put(content)
        return self._content

    def lines(self) -> list[str]:
        """Return what is new for the user."""
        self._notice_waiting()
        lines, self._lines = self._lines, []
        return lines

    def close(self) -> list[str]:
        """Give up all places and return the last lines."""
        for worker in self._workers:
            worker.close()
        self._content = None
        lines, self._lines = self._lines, []
        return lines

    def _new_place(self) -> Any:
        actor = ray.remote(Place).options(
            num_cpus=self.cpus,
            num_gpus=self.gpus,
            max_concurrency=3,  # `report` waits in one thread while `signal` runs in another
            runtime_env={"env_vars": ENVIRONMENT},
        )
        return actor.remote()

    def _forwarded(self) -> dict[str, str]:
        return {name: os.environ[name] for name in FORWARDED if name in os.environ}

    def _notice_waiting(self) -> None:
        """Say how many workers wait for a place, once it has been so for NOTICE_S."""
        n_unplaced, now = sum(worker.waits for worker in self._workers), time.monotonic()
        if n_unplaced != self._unplaced[0]:
            self._unplaced = n_unplaced, now
        seconds = now - self._unplaced[1]
        if seconds < NOTICE_S or now < self._noticed_at + 1:
            return
        self._noticed_at = now
        n = n_unplaced if seconds > START_S else max(0, n_unplaced - self._n_starting(n_unplaced))
        if n == self._told or (n == 0 and n_unplaced):
            return
        self._told = n
        n_workers = len(self._workers)
        if n == 0:
            self.tell(f"all {n_workers} workers have a place")
            return
        share = f", {self.gpus:g} of a GPU" if self.gpus else ""
        self.tell(
            f"{n} of {n_workers} workers wait{'s' * (n == 1)} for a place: the cluster has {resources()}, "
            f"and each worker takes {self.cpus:g} CPU{'s' * (self.cpus > 1)}{share}"
        )

    def _n_starting(self, n_unplaced: int) -> int:
        """Return how many workers have a place, by what is taken, whose processes are only starting."""
        cpus, gpus = taken()
        n_places = gpus / self.gpus if self.gpus else cpus / self.cpus
        return max(0, round(n_places) - (len(self._workers) - n_unplaced))
