"""Claims and leases of trials, in small tables beside Optuna's.

A trial is one of
    waiting     not held; its lease row, if any, has no worker and counts the deaths so far
    running     its lease names a registered worker, or the stand-in of another program
    finished    without a lease
Each step between these states is one transaction. A process may die anywhere, and an answer may be
lost with its connection, but the database never holds half a step. Claims of one study also exclude
each other, because they count before they create.

A worker is dead when its process is gone (same host, same boot), or when it is stale: without a
heartbeat for the time of its lease, and for the last seconds of it watched by one observer. Its trial
is then resumed by another worker, with the same parameters and reports. It fails after MAX_DEATHS dead
workers. One that ended in order, but could not say so to the database, has left a note (notes.py).
"""

from __future__ import annotations

import enum
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import optuna
import sqlalchemy as sa
from optuna.trial import TrialState

from ..database.optuna_rows import (
    back_to_waiting,
    end_trial,
    insert_report,
    insert_trial,
    keep_reports,
    start_waiting,
    studies_table,
    trials_table,
    write_attrs,
    write_system_attrs,
)
from ..database.storage import Storage
from ..database.tables import leases_table, workers_table
from ..errors import LostStudyError
from ..records import split_attributes
from .lease_times import LeaseTimes
from .liveness import Identity
from .notes import has_note, noted, remove_notes
from .reclaim import (
    end_lease,
    lease_foreign_trials,
    lease_of,
    lease_trial,
    put_back_orphans,
    put_back_trials_of,
)
from .registry import FOREIGN, Registry

NOBODY: Mapping[str, bool] = MappingProxyType({})
RECLAIM_EVERY_S = 1.0
"""How often the claims of one process look for dead workers, at most. Looking at 64 processes takes 10 ms."""
LOOKING_SHARE = 0.05
"""The part of the time in which all workers of a study together may look. They keep claims waiting."""


class Verdict(enum.Enum):
    """Why a claim returned no trial."""

    WAIT = enum.auto()
    """Running trials fill the budget. One of them may still be put back."""
    SPENT = enum.auto()
    """The study has all its trials."""


class Claim(NamedTuple):
    trial_id: int
    number: int


def pause_s(took_s: float, n_workers: int, lease_s: float) -> float:
    """Return how long one of `n_workers` does not look for dead workers after a look of `took_s` seconds.

    Not longer than a lease, because those elsewhere are found dead no sooner than that.
    """
    return min(lease_s, took_s * n_workers / LOOKING_SHARE)


class Leases:
    """The claims and leases of one study."""

    def __init__(
        self,
        storage: Storage,
        study: optuna.Study,
        times: LeaseTimes | None = None,
        node: str = "",
    ) -> None:
        """Use `times` for the study's workers; without it, those of the environment.

        `node` is the node of a cluster on which this process is a worker (Identity.node).
        """
        self.storage, self.study = storage, study
        self.study_id = study._study_id
        self.registry = Registry(storage, study, times, node)
        self._reclaimed_at = -RECLAIM_EVERY_S
        self._pause_s = 0.0
        """How long this process leaves the looking to others, by how long it took and how many they are."""

    def counts(self) -> dict[TrialState, int]:
        """Return the number of trials in each state."""
        with self.storage.engine.connect() as db:
            return self._counts(db)

    def claim(self, worker: Identity, n_trials: int, *, may_create: bool) -> Claim | Verdict:
        """Claim a trial, which then runs under the worker's lease, or return why there is none.

        Safe to repeat after an outage: a repeated claim returns the trial that the worker already holds.
        Raises LostStudyError when the study is gone.

        Args:
            worker: The worker that will train the trial.
            n_trials: The study's total of complete and pruned trials.
            may_create: Whether to create a trial when no trial is waiting.
        """
        with self.storage.exclusive(self.study_id) as db:
            if self._stored_name(db) == self.study.study_name:
                return self._claim(db, worker, n_trials, may_create)
        self.check_study()
        return Verdict.WAIT

    def check_study(self) -> None:
        """Raise LostStudyError if the study was deleted or renamed after it was loaded.

        What workers of a deleted study left in our tables is removed.
        """
        name = self.study.study_name
        with self.storage.engine.begin() as db:
            stored = self._stored_name(db)
            if stored is None:
                for table in (workers_table, leases_table):
                    db.execute(sa.delete(table).where(table.c.study_id == self.study_id))
        if stored is None:
            raise LostStudyError(f"the study {name!r} was deleted while its workers ran")
        if stored != name:
            raise LostStudyError(
                f"the study {name!r} was renamed or deleted while its workers ran; "
                f"its place in the database has the name {stored!r}"
            )

    def holds(self, worker: Identity, trial_id: int) -> bool:
        """Return whether the worker still holds the trial."""
        t, lease = trials_table.c, leases_table.c
        query = sa.select(t.trial_id).join_from(
            leases_table, trials_table, t.trial_id == lease.trial_id
        )
        query = query.where(lease_of(trial_id, worker.worker_id), t.state == TrialState.RUNNING)
        with self.storage.engine.connect() as db:
            return db.execute(query).first() is not None

    def report(self, worker: Identity, trial_id: int, step: int, value: float) -> bool:
        """Store a finite intermediate value. False if the worker no longer holds the trial.

        Safe to repeat. The first value of a step stays, as in Optuna.
        """
        try:
            with self.storage.engine.begin() as db:
                return bool(insert_report(db, trial_id, worker.worker_id, step, value))
        except sa.exc.IntegrityError:
            return self.holds(worker, trial_id)

    def keep_reports(self, worker: Identity, trial_id: int, values: dict[int, float]) -> bool:
        """Store `values`, by step, in place of all reports. False if the worker lost the trial.

        Safe to repeat. The reports of a trial that another program has ended stay as they are.
        """
        key = lease_of(trial_id, worker.worker_id)
        with self.storage.engine.begin() as db:
            # an update and not a select: it locks the lease until the reports are written
            held = sa.update(leases_table).where(key).values(worker_id=worker.worker_id)
            if not db.execute(held).rowcount:
                return False
            return keep_reports(db, trial_id, values)

    def finish(
        self,
        worker: Identity,
        trial_id: int,
        state: TrialState,
        value: float | None,
        attrs: dict[str, Any] | None = None,
    ) -> bool:
        """End the trial. False if the worker does not hold it, or another program has ended it.

        Safe to repeat after an outage.

        Args:
            worker: The worker that trained the trial.
            trial_id: Optuna's id of the trial.
            state: COMPLETE, PRUNED or FAIL.
            value: The trial's value. A pruned trial without one gets its last reported value.
            attrs: What to store with the end, as columns of Optuna's tables or out of their sight.
        """
        key = lease_of(trial_id, worker.worker_id)
        with self.storage.engine.begin() as db:
            if not db.execute(sa.delete(leases_table).where(key)).rowcount:
                return False
            if not end_trial(db, trial_id, state, value):
                return False
            columns, hidden = split_attributes(attrs or {})
            write_attrs(db, trial_id, columns)
            write_system_attrs(db, trial_id, hidden)
            return True

    def release(self, worker: Identity, trial_id: int) -> None:
        """Put a running trial back without counting a death, if the worker still holds it."""
        with self.storage.engine.begin() as db:
            if end_lease(db, trial_id, worker.worker_id):
                back_to_waiting(db, trial_id)

    def reclaim(self, dead: Mapping[str, bool] = NOBODY, *, foreign: bool = False) -> int:
        """Put back the trials of dead workers and return their number.

        Args:
            dead: Workers that their supervisor saw end, by id, and whether that counts against their trials.
            foreign: Whether to put back the trials of other programs at once, not after a lease.
        """
        with self.storage.exclusive(self.study_id) as db:
            return self._reclaim(db, dead, foreign=foreign)

    def reclaim_confirmed(self) -> int:
        """Do as `reclaim` does, and watch stale workers until each is confirmed dead or alive.

        Takes up to `confirm_s` and a second if there are any.
        """
        n_back = self.reclaim()
        confirm_s = self.registry.times.confirm_s
        deadline = time.monotonic() + confirm_s + 1
        while self.registry.has_suspects and time.monotonic() < deadline:
            time.sleep(min(confirm_s, 0.5))
            n_back += self.reclaim()
        return n_back

    def forget_notes(self) -> None:
        """Remove the notes of workers that are registered no longer.

        Not when their trials are put back: if that is rolled back, the next one needs the note.
        """
        if ids := noted(self.storage, self.study.study_name):
            ids -= {worker.worker_id for worker in self.registry.workers()}
            remove_notes(self.storage, self.study.study_name, ids)

    def _counts(self, db: sa.Connection) -> dict[TrialState, int]:
        t = trials_table.c
        query = sa.select(t.state, sa.func.count()).where(t.study_id == self.study_id)
        counts = {row[0]: row[1] for row in db.execute(query.group_by(t.state))}
        return {state: counts.get(state, 0) for state in TrialState}

    def _held_by(self, db: sa.Connection, worker: Identity) -> Claim | None:
        t, lease = trials_table.c, leases_table.c
        query = sa.select(t.trial_id, t.number).join_from(
            leases_table, trials_table, t.trial_id == lease.trial_id
        )
        row = db.execute(query.where(lease.worker_id == worker.worker_id)).first()
        return Claim(*row) if row else None

    def _stored_name(self, db: sa.Connection) -> str | None:
        s = studies_table.c
        return db.execute(sa.select(s.study_name).where(s.study_id == self.study_id)).scalar()

    def _claim(
        self, db: sa.Connection, worker: Identity, n_trials: int, may_create: bool
    ) -> Claim | Verdict:
        self.registry.renew_or_register(db, worker)
        if held := self._held_by(db, worker):
            return held
        if time.monotonic() - self._reclaimed_at > max(RECLAIM_EVERY_S, self._pause_s):
            self._reclaim(db)
        claim = self._next(db, n_trials, may_create)
        if isinstance(claim, Claim):
            lease_trial(db, self.study_id, claim.trial_id, worker.worker_id)
        return claim

    def _next(self, db: sa.Connection, n_trials: int, may_create: bool) -> Claim | Verdict:
        """Start a waiting trial or create one, if the budget has room."""
        while True:
            n = self._counts(db)
            n_finished = n[TrialState.COMPLETE] + n[TrialState.PRUNED]
            if n_finished >= n_trials:
                return Verdict.SPENT
            if n_finished + n[TrialState.RUNNING] >= n_trials:
                return Verdict.WAIT
            if n[TrialState.WAITING]:
                claim = self._first_waiting(db)
                # another program does not take our lock and may be faster: then count again
                if claim is not None and start_waiting(db, claim.trial_id):
                    return claim
            elif may_create:
                number = sum(n.values())
                return Claim(insert_trial(db, self.study_id, number), number)
            else:
                return Verdict.WAIT if n[TrialState.RUNNING] else Verdict.SPENT

    def _first_waiting(self, db: sa.Connection) -> Claim | None:
        t = trials_table.c
        query = sa.select(t.trial_id, t.number).where(
            t.study_id == self.study_id, t.state == TrialState.WAITING
        )
        row = db.execute(query.order_by(t.trial_id).limit(1)).first()
        return Claim(*row) if row else None

    def _reclaim(
        self, db: sa.Connection, dead: Mapping[str, bool] = NOBODY, *, foreign: bool = False
    ) -> int:
        began = time.monotonic()
        lease_foreign_trials(db, self.registry)
        n_back = 0
        for worker in self.registry.remove_dead(db, dead, foreign=foreign):
            is_foreign = worker.worker_id.startswith(FOREIGN)
            count_death = (
                dead.get(worker.worker_id, True)
                and not is_foreign
                and not has_note(self.storage, self.study.study_name, worker.worker_id)
            )
            n_back += put_back_trials_of(db, worker.worker_id, count_death=count_death)
        n_back += put_back_orphans(db, self.study_id)
        self._reclaimed_at = time.monotonic()
        self._pause_s = pause_s(
            self._reclaimed_at - began, self.registry.n_workers, self.registry.times.lease_s
        )
        return n_back
