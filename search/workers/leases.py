"""Who works on what: claims, leases, beats and reclaims, in small tables beside Optuna's.

A trial is one of
    waiting     nobody has it; a lease row without a worker remembers how many workers it has cost
    running     its lease names a registered worker
    finished    no lease
and each step between them is one transaction: a process may die anywhere, an answer may get lost with
its connection, the database never holds half a step. Claims of one study also exclude each other,
because they count before they create.

A worker is dead when its process is known to be gone (same host, same boot), or when it has not beaten
for LEASE_S seconds, the last of them under the eyes of whoever says so. Its trial goes back to
waiting, the same trial with the same parameters and reports; after MAX_DEATHS dead workers it is
failed instead. A process of this host that is seen to be alive has PATIENCE times as long.
"""

from __future__ import annotations

import enum
import socket
import time
from collections.abc import Container
from typing import Any, NamedTuple

import optuna
import sqlalchemy as sa
from optuna.trial import TrialState

from ..database.optuna_rows import (
    back_to_waiting,
    end_trial,
    insert_report,
    insert_trial,
    start_waiting,
    trials_table,
    write_attrs,
)
from ..database.storage import Storage
from ..database.tables import leases_table, workers_table
from .liveness import Identity
from .registry import SECOND_LOOK_S, Registry

MAX_DEATHS = 3
RECLAIM_EVERY_S = 1.0
"""How often a claim looks for the dead: looking at 64 processes takes 10 ms."""


class Verdict(enum.Enum):
    """What a claim found instead of a trial."""

    WAIT = enum.auto()
    """The budget is taken by running trials; one of them may yet come back."""
    SPENT = enum.auto()
    """The study holds its trials; nothing is left to do."""


class Claim(NamedTuple):
    trial_id: int
    number: int


class Leases(Registry):
    """Claims and leases of one study."""

    def __init__(self, storage: Storage, study: optuna.Study) -> None:
        super().__init__(storage, study)
        self._reclaimed_at = -RECLAIM_EVERY_S

    def counts(self) -> dict[TrialState, int]:
        """Number of trials in each state."""
        with self.storage.engine.connect() as db:
            return self._counts(db)

    def claim(self, worker: Identity, n_trials: int, *, may_create: bool) -> Claim | Verdict:
        """A trial, now running and leased to `worker`, or why there is none.

        `n_trials` is the study's total of complete and pruned trials. With `may_create` false only
        waiting trials are handed out. Safe to repeat after an outage: a claim whose answer got lost
        is answered again.
        """
        with self.storage.exclusive(self.study_id) as db:
            self._sign_in(db, worker)
            if mine := self._leased_to(db, worker):
                return mine
            if time.monotonic() - self._reclaimed_at > RECLAIM_EVERY_S:
                self._reclaim(db)
            n = self._counts(db)
            n_finished = n[TrialState.COMPLETE] + n[TrialState.PRUNED]
            if n_finished >= n_trials:
                return Verdict.SPENT
            if n_finished + n[TrialState.RUNNING] >= n_trials:
                return Verdict.WAIT
            if n[TrialState.WAITING]:
                claim = self._first_waiting(db)
                start_waiting(db, claim.trial_id)
            elif may_create:
                number = sum(n.values())
                claim = Claim(insert_trial(db, self.study_id, number), number)
            else:
                return Verdict.WAIT if n[TrialState.RUNNING] else Verdict.SPENT
            self._lease(db, claim.trial_id, worker)
            return claim

    def holds(self, worker: Identity, trial_id: int) -> bool:
        """Whether the trial is still this worker's."""
        key = _held_by(trial_id, worker.worker_id)
        with self.storage.engine.connect() as db:
            return db.execute(sa.select(leases_table.c.trial_id).where(key)).first() is not None

    def report(self, worker: Identity, trial_id: int, step: int, value: float) -> bool:
        """Report a finite intermediate value, if the trial is still this worker's; else False.

        Safe to repeat: the first value of a step stays, as in Optuna.
        """
        try:
            with self.storage.engine.begin() as db:
                return bool(insert_report(db, trial_id, worker.worker_id, step, value))
        except sa.exc.IntegrityError:
            return self.holds(worker, trial_id)

    def finish(
        self,
        worker: Identity,
        trial_id: int,
        state: TrialState,
        value: float | None,
        attrs: dict[str, Any] | None = None,
    ) -> bool:
        """End the trial, if it is still this worker's; False if it is not, or not any more.

        `attrs` become its user attributes. A pruned trial's value is its last reported one, as in
        Optuna. Safe to repeat after an outage.
        """
        key = _held_by(trial_id, worker.worker_id)
        with self.storage.engine.begin() as db:
            if not db.execute(sa.delete(leases_table).where(key)).rowcount:
                return False
            write_attrs(db, trial_id, attrs or {})
            end_trial(db, trial_id, state, value)
            return True

    def release(self, worker: Identity, trial_id: int) -> None:
        """Give a running trial back unharmed, if it is still this worker's."""
        with self.storage.engine.begin() as db:
            if self._take_away(db, trial_id, worker.worker_id):
                back_to_waiting(db, trial_id)

    def reclaim(self, spare: Container[int] = ()) -> int:
        """Put back the trials of dead workers; returns how many.

        Deaths of the processes in `spare`, pids of this host, are not held against their trials.
        """
        with self.storage.exclusive(self.study_id) as db:
            return self._reclaim(db, spare)

    def reclaim_for_sure(self) -> int:
        """`reclaim`, and the second look at workers that are silent: some seconds, if there are any."""
        n_back = self.reclaim()
        deadline = time.monotonic() + SECOND_LOOK_S + 1
        while self._silent and time.monotonic() < deadline:
            time.sleep(min(SECOND_LOOK_S, 0.5))
            n_back += self.reclaim()
        return n_back

    def _counts(self, db: sa.Connection) -> dict[TrialState, int]:
        t = trials_table.c
        query = sa.select(t.state, sa.func.count()).where(t.study_id == self.study_id)
        found = {row[0]: row[1] for row in db.execute(query.group_by(t.state))}
        return {state: found.get(state, 0) for state in TrialState}

    def _leased_to(self, db: sa.Connection, worker: Identity) -> Claim | None:
        t, lease = trials_table.c, leases_table.c
        query = sa.select(t.trial_id, t.number).join_from(
            leases_table, trials_table, t.trial_id == lease.trial_id
        )
        row = db.execute(query.where(lease.worker_id == worker.worker_id)).first()
        return Claim(*row) if row else None

    def _first_waiting(self, db: sa.Connection) -> Claim:
        t = trials_table.c
        query = sa.select(t.trial_id, t.number).where(
            t.study_id == self.study_id, t.state == TrialState.WAITING
        )
        return Claim(*db.execute(query.order_by(t.trial_id).limit(1)).one())

    def _lease(self, db: sa.Connection, trial_id: int, worker: Identity) -> None:
        key = leases_table.c.trial_id == trial_id
        known = sa.update(leases_table).where(key).values(worker_id=worker.worker_id)
        if not db.execute(known).rowcount:
            row = {"trial_id": trial_id, "study_id": self.study_id, "deaths": 0}
            db.execute(sa.insert(leases_table).values(worker_id=worker.worker_id, **row))

    def _take_away(self, db: sa.Connection, trial_id: int, worker_id: str) -> bool:
        """End the worker's lease but remember its deaths; False if the lease is not the worker's."""
        key = _held_by(trial_id, worker_id)
        values: dict[str, None] = {"worker_id": None}
        return bool(db.execute(sa.update(leases_table).where(key).values(**values)).rowcount)

    def _reclaim(self, db: sa.Connection, spare: Container[int] = ()) -> int:
        """Put back what dead workers held, and forget them. Call with the study locked."""
        self._reclaimed_at = time.monotonic()
        worker = workers_table.c
        age = self.storage.age(worker.beat).label("age")
        query = sa.select(workers_table, age).where(worker.study_id == self.study_id)
        rows = db.execute(query).all()
        dead = [row for row in rows if self._is_dead(row)]
        n_back = 0
        for row in dead:
            spared = row.pid in spare and row.host == socket.gethostname()
            n_back += self._bury(db, row.worker_id, 0 if spared else 1)
        if dead:
            ids = [row.worker_id for row in dead]
            db.execute(sa.delete(workers_table).where(worker.worker_id.in_(ids)))
        gone = self._silent.keys() - {row.worker_id for row in rows} | {
            row.worker_id for row in dead
        }
        for worker_id in gone:
            self._silent.pop(worker_id, None)
        return n_back + self._put_back_orphans(db)

    def _bury(self, db: sa.Connection, worker_id: str, n_deaths: int) -> int:
        lease = leases_table.c
        query = sa.select(lease.trial_id, lease.deaths).where(lease.worker_id == worker_id)
        n_back = 0
        for trial_id, deaths in db.execute(query).all():
            # it may be finishing this very moment: then the lease is gone
            if self._take_away(db, trial_id, worker_id):
                n_back += 1
                self._after_death(db, trial_id, deaths + n_deaths)
        return n_back

    def _after_death(self, db: sa.Connection, trial_id: int, deaths: int) -> None:
        key = leases_table.c.trial_id == trial_id
        if deaths >= MAX_DEATHS:
            reason = f"poison: {deaths} workers died on it"
            write_attrs(db, trial_id, {"stop_reason": reason})
            end_trial(db, trial_id, TrialState.FAIL, None)
            db.execute(sa.delete(leases_table).where(key))
        else:
            back_to_waiting(db, trial_id)
            db.execute(sa.update(leases_table).where(key).values(deaths=deaths))

    def _put_back_orphans(self, db: sa.Connection) -> int:
        """Running trials without a registered worker: other programs make such ones."""
        t, lease, worker = trials_table.c, leases_table.c, workers_table.c
        tables = trials_table.join(leases_table, lease.trial_id == t.trial_id, isouter=True).join(
            workers_table, worker.worker_id == lease.worker_id, isouter=True
        )
        running = (t.study_id == self.study_id) & (t.state == TrialState.RUNNING)
        query = sa.select(t.trial_id, lease.worker_id).select_from(tables)
        orphans = db.execute(query.where(running, worker.worker_id.is_(None))).all()
        for trial_id, worker_id in orphans:
            if worker_id is not None:
                self._take_away(db, trial_id, worker_id)
            back_to_waiting(db, trial_id)
        return len(orphans)


def _held_by(trial_id: int, worker_id: str) -> sa.ColumnElement[bool]:
    lease = leases_table.c
    return (lease.trial_id == trial_id) & (lease.worker_id == worker_id)
