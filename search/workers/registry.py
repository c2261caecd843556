"""The registered workers of a study: their heartbeats, and requests to stop."""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

import optuna
import sqlalchemy as sa

from ..database.storage import Storage
from ..database.tables import leases_table, workers_table
from .lease_times import LeaseTimes
from .liveness import Identity, ProcessState, node_of, process_state

N_STOPS = "stops"
FOREIGN = "another-program-"
"""How the ids of stand-in workers begin, which hold the trials of other programs (see reclaim.py)."""


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """A registered worker, as `bloodsearch status` shows it."""

    worker_id: str
    host: str
    pid: int
    device: str
    beat_age_s: float
    trial_id: int | None
    node: str = ""
    """The first digits of the cluster's id of its node; empty outside of a cluster."""


class HeartbeatReply(NamedTuple):
    """The database's answer to a heartbeat."""

    registered: bool
    """False if other workers declared this one dead."""
    drain: bool
    """True if `bloodsearch stop` asked the worker to stop."""


class Registry:
    """The workers of one study."""

    def __init__(
        self,
        storage: Storage,
        study: optuna.Study,
        times: LeaseTimes | None = None,
        node: str = "",
    ) -> None:
        self.storage, self.study = storage, study
        self.study_id = study._study_id
        self.times = times or LeaseTimes.from_environment()
        self._node = node
        self._suspects: dict[str, tuple[float, float]] = {}
        """Stale workers: their last heartbeat, and the monotonic time when this process noticed."""
        self.n_workers = 0
        """The registered workers when `remove_dead` last looked."""

    def register(self, worker: Identity) -> None:
        """Store the worker, in place of an earlier row of the same worker."""
        with self.storage.engine.begin() as db:
            db.execute(sa.delete(workers_table).where(_is(worker)))
            self._insert(db, worker)

    def unregister(self, worker: Identity) -> None:
        """Remove the worker."""
        with self.storage.engine.begin() as db:
            db.execute(sa.delete(workers_table).where(_is(worker)))

    def heartbeat(self, worker: Identity) -> HeartbeatReply:
        """Store a heartbeat. A worker that is not registered stays so."""
        with self.storage.parting() as db:
            registered = self._renew(db, worker)
            drain = db.execute(sa.select(workers_table.c.drain).where(_is(worker))).scalar()
        return HeartbeatReply(registered, bool(drain))

    def renew_or_register(self, db: sa.Connection, worker: Identity) -> None:
        """Store a heartbeat. Register the worker again if others declared it dead."""
        if not self._renew(db, worker):
            self._insert(db, worker)

    def n_stops(self) -> int:
        """Return how often `bloodsearch stop` was called. Supervisors stop when it changes."""
        return int(self.study.user_attrs.get(N_STOPS, 0))

    def request_drain(self) -> int:
        """Ask all workers of the study to stop and return how many are registered.

        Their supervisors stop as well. They may have workers that are still starting.
        """
        self.study.set_user_attr(N_STOPS, self.n_stops() + 1)
        with self.storage.engine.begin() as db:
            return db.execute(
                sa.update(workers_table)
                .where(
                    workers_table.c.study_id == self.study_id,
                    workers_table.c.worker_id.not_like(f"{FOREIGN}%"),
                )
                .values(drain=True)
            ).rowcount

    def workers(self) -> list[WorkerStatus]:
        """Return the registered workers and the trials they hold, by host and pid."""
        return self.holders()[0]

    def foreign_trials(self) -> list[int]:
        """Return the ids of the running trials that other programs hold."""
        return self.holders()[1]

    def holders(self) -> tuple[list[WorkerStatus], list[int]]:
        """Return `workers()` and `foreign_trials()`, with one query."""
        age = self.storage.age(workers_table.c.beat)
        query = (
            sa.select(workers_table, age.label("age"), leases_table.c.trial_id)
            .join_from(
                workers_table,
                leases_table,
                leases_table.c.worker_id == workers_table.c.worker_id,
                isouter=True,
            )
            .where(workers_table.c.study_id == self.study_id)
            .order_by(workers_table.c.host, workers_table.c.pid)
        )
        with self.storage.engine.connect() as db:
            rows = [
                WorkerStatus(
                    r.worker_id,
                    r.host,
                    r.pid,
                    r.device,
                    max(0.0, r.age),
                    r.trial_id,
                    node_of(r.boot_id),
                )
                for r in db.execute(query)
            ]
        foreign = [row for row in rows if row.worker_id.startswith(FOREIGN)]
        trials = sorted(row.trial_id for row in foreign if row.trial_id is not None)
        return [row for row in rows if row not in foreign], trials

    def any_holds(self, worker_ids: Collection[str]) -> bool:
        """Return whether one of these workers holds a trial."""
        if not worker_ids:
            return False
        query = sa.select(leases_table.c.trial_id).limit(1)
        query = query.where(leases_table.c.worker_id.in_(list(worker_ids)))
        with self.storage.engine.connect() as db:
            return db.execute(query).first() is not None

    @property
    def has_suspects(self) -> bool:
        """Whether some stale worker has not been watched for long enough to call it dead."""
        return bool(self._suspects)

    def remove_dead(
        self, db: sa.Connection, known: Collection[str] = (), *, foreign: bool = False
    ) -> list[Identity]:
        """Remove the dead workers of the study and return them. Call with the study locked.

        Those with the ids `known` are dead. With `foreign` so are the stand-ins of other programs.
        """
        column = workers_table.c
        age = self.storage.age(column.beat)
        of_study = column.study_id == self.study_id
        count = sa.select(sa.func.count()).select_from(workers_table).where(of_study)
        self.n_workers = db.execute(count).scalar_one()
        # a worker elsewhere that sends heartbeats is alive: most of a thousand rows stay in the database
        suspicious = (column.host == socket.gethostname()) | (age > self.times.lease_s)
        suspicious |= column.worker_id.in_(list(known))
        if foreign:
            suspicious |= column.worker_id.startswith(FOREIGN)
        query = sa.select(workers_table, age.label("age")).where(of_study, suspicious)
        rows = db.execute(query).all()
        dead = [
            _identity(row)
            for row in rows
            if row.worker_id in known or self._is_dead(row) or (foreign and _is_foreign(row))
            if _removed(db, row, whatever_it_sent=row.worker_id in known)
        ]
        watched = {row.worker_id for row in rows} - {worker.worker_id for worker in dead}
        self._suspects = {
            worker_id: seen for worker_id, seen in self._suspects.items() if worker_id in watched
        }
        return dead

    def _insert(self, db: sa.Connection, worker: Identity) -> None:
        row = dataclasses.asdict(worker) | {"study_id": self.study_id, "drain": False}
        db.execute(sa.insert(workers_table).values(beat=self.storage.now(), **row))

    def _renew(self, db: sa.Connection, worker: Identity) -> bool:
        row = sa.update(workers_table).where(_is(worker)).values(beat=self.storage.now())
        return bool(db.execute(row).rowcount)

    def _is_dead(self, row: sa.Row[Any]) -> bool:
        """Return whether a row of the workers' table, with its heartbeat's `age`, is a dead worker's.

        The age alone is no proof. The clock may have jumped, or every machine was suspended. A living
        worker sends its next heartbeat within `heartbeat_s` of that.
        """
        worker, times = _identity(row), self.times
        state = process_state(worker, self._node)
        if state is ProcessState.GONE:
            return True
        n_leases = times.n_leases_if_alive if state is ProcessState.RUNNING else 1
        if row.age <= times.lease_s * n_leases:
            self._suspects.pop(worker.worker_id, None)
            return False
        now = time.monotonic()  # does not count while the machine sleeps
        beat, noticed = self._suspects.get(worker.worker_id, (row.beat, now))
        if beat != row.beat:
            noticed = now
        self._suspects[worker.worker_id] = row.beat, noticed
        return bool(now - noticed >= times.confirm_s)


def _is(worker: Identity) -> sa.ColumnElement[bool]:
    return workers_table.c.worker_id == worker.worker_id


def _is_foreign(row: sa.Row[Any]) -> bool:
    return bool(row.worker_id.startswith(FOREIGN))


def _removed(db: sa.Connection, row: sa.Row[Any], *, whatever_it_sent: bool) -> bool:
    """Remove the worker and return whether it is gone.

    It stays if it has sent a heartbeat since `row` was read, unless that does not matter.
    """
    column = workers_table.c
    which = column.worker_id == row.worker_id
    if not whatever_it_sent:
        which &= column.beat == row.beat
    return bool(db.execute(sa.delete(workers_table).where(which)).rowcount)


def _identity(row: sa.Row[Any]) -> Identity:
    return Identity(*(getattr(row, field.name) for field in dataclasses.fields(Identity)))
