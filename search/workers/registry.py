"""Who works for a study: registered workers, their beats, and requests to drain."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import optuna
import sqlalchemy as sa

from .. import env
from ..database.storage import Storage
from ..database.tables import leases_table, workers_table
from .liveness import Fate, Identity, look_at

LEASE_S = env.lease_s()
BEAT_S = min(5.0, LEASE_S / 6)
PATIENCE = 10
"""Leases that a process which is seen to be alive may stay silent: a starved machine is no death."""
SECOND_LOOK_S = 1.5 * BEAT_S
"""How long the silence must last under the eyes of whoever judges it."""
N_STOPS = "stops"


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    worker_id: str
    host: str
    pid: int
    device: str
    beat_age_s: float
    trial_id: int | None


class Registry:
    """The workers of one study."""

    def __init__(self, storage: Storage, study: optuna.Study) -> None:
        self.storage, self.study = storage, study
        self.study_id = study._study_id
        self._silent: dict[str, tuple[float, float]] = {}
        """Workers silent for longer than their lease: their last beat, and when we noticed."""

    def register(self, worker: Identity) -> None:
        """Make the worker known, or known again."""
        with self.storage.engine.begin() as db:
            db.execute(
                sa.delete(workers_table).where(workers_table.c.worker_id == worker.worker_id)
            )
            self._insert(db, worker)

    def _insert(self, db: sa.Connection, worker: Identity) -> None:
        row = dataclasses.asdict(worker) | {"study_id": self.study_id, "drain": False}
        db.execute(sa.insert(workers_table).values(beat=self.storage.now(), **row))

    def _sign_in(self, db: sa.Connection, worker: Identity) -> None:
        """Beat, or register again after others took the worker for dead."""
        if not self._beat(db, worker):
            self._insert(db, worker)

    def _beat(self, db: sa.Connection, worker: Identity) -> bool:
        key = workers_table.c.worker_id == worker.worker_id
        row = sa.update(workers_table).where(key).values(beat=self.storage.now())
        return bool(db.execute(row).rowcount)

    def unregister(self, worker: Identity) -> None:
        with self.storage.engine.begin() as db:
            db.execute(
                sa.delete(workers_table).where(workers_table.c.worker_id == worker.worker_id)
            )

    def beat(self, worker: Identity) -> tuple[bool, bool]:
        """Say that the worker lives. Returns (still registered, asked to drain)."""
        key = workers_table.c.worker_id == worker.worker_id
        with self.storage.parting() as db:
            known = self._beat(db, worker)
            drain = db.execute(sa.select(workers_table.c.drain).where(key)).scalar()
        return known, bool(drain)

    def n_stops(self) -> int:
        """How often the study's workers have been asked to stop: a change asks those who saw less."""
        return int(self.study.user_attrs.get(N_STOPS, 0))

    def request_drain(self) -> int:
        """Ask all workers of the study to stop; returns how many of them are registered.

        Their supervisors are asked too: they have workers that are only about to start.
        """
        self.study.set_user_attr(N_STOPS, self.n_stops() + 1)
        with self.storage.engine.begin() as db:
            return db.execute(
                sa.update(workers_table)
                .where(workers_table.c.study_id == self.study_id)
                .values(drain=True)
            ).rowcount

    def workers(self) -> list[WorkerStatus]:
        """The registered workers, with what they hold."""
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
            return [
                WorkerStatus(r.worker_id, r.host, r.pid, r.device, max(0.0, r.age), r.trial_id)
                for r in db.execute(query)
            ]

    def _is_dead(self, row: sa.Row[Any]) -> bool:
        """Whether a row of the workers' table, with its beat's `age`, belongs to a dead worker.

        The age alone does not say so: the clock may have jumped, or all of us slept with the laptop's
        lid closed or the virtual machine paused. A living worker beats again within BEAT_S of that.
        """
        who = Identity(*(getattr(row, field.name) for field in dataclasses.fields(Identity)))
        fate = look_at(who)
        if fate is Fate.GONE:
            return True
        if row.age <= LEASE_S * (PATIENCE if fate is Fate.ALIVE else 1):
            self._silent.pop(who.worker_id, None)
            return False
        now = time.monotonic()  # which stands still while the machine sleeps
        beat, noticed = self._silent.get(who.worker_id, (row.beat, now))
        if beat != row.beat:
            noticed = now
        self._silent[who.worker_id] = row.beat, noticed
        return bool(now - noticed >= SECOND_LOOK_S)
