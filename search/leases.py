"""Who works on what: claims, leases, beats and reclaims, in small tables beside Optuna's.

A trial changes hands only under the storage's lock, and each state is one of
    waiting     nobody has it; a lease row without a worker remembers how many workers it has cost
    running     its lease names a registered worker
    finished    no lease
A worker is dead when its process is known to be gone (same host, same boot), or when it has not beaten
for LEASE_S seconds. Its trial goes back to waiting, the same trial with the same parameters and
reports; after MAX_DEATHS dead workers it is failed instead.
"""

from __future__ import annotations

import enum
from typing import Any, cast

import sqlalchemy as sa
from optuna.trial import TrialState

from search.liveness import Identity
from search.registry import Registry, is_dead
from search.storage import Storage
from search.tables import (
    insert_report,
    leases_table,
    metadata,
    trials_table,
    workers_table,
    write_attrs,
)

MAX_DEATHS = 3


class Verdict(enum.Enum):
    """What a claim found instead of a trial."""

    WAIT = enum.auto()
    """The budget is taken by running trials; one of them may yet come back."""
    SPENT = enum.auto()
    """The study holds its trials; nothing is left to do."""


class Leases(Registry):
    """Claims and leases of one study."""

    @staticmethod
    def create_tables(storage: Storage) -> None:
        """Make the tables if they are missing. Call under the storage's lock."""
        metadata.create_all(storage.engine)

    def counts(self) -> dict[TrialState, int]:
        """Number of trials in each state."""
        found = self._scan()
        return {state: found.get(state, (0, None))[0] for state in TrialState}

    def claim(self, worker: Identity, n_trials: int, *, may_create: bool) -> int | Verdict:
        """A trial's id, now running and leased to `worker`, or why there is none.

        `n_trials` is the study's total of complete and pruned trials. With `may_create` false only
        waiting trials are handed out. Takes the lock; safe to repeat after an outage, since a
        trial that was started without a lease is put back by the next claim.
        """
        with self.storage.lock():
            self._reclaim_locked()
            found = self._scan()
            n_running = found.get(TrialState.RUNNING, (0, None))[0]
            n_finished = sum(
                found.get(state, (0, None))[0] for state in (TrialState.COMPLETE, TrialState.PRUNED)
            )
            if n_finished >= n_trials:
                return Verdict.SPENT
            if n_finished + n_running >= n_trials:
                return Verdict.WAIT
            trial_id = found.get(TrialState.WAITING, (0, None))[1]
            if trial_id is None:
                if not may_create:
                    return Verdict.WAIT if n_running else Verdict.SPENT
                trial_id = self.storage.optuna.create_new_trial(self.study_id)
                self._lease(trial_id, worker)
            else:
                self._lease(trial_id, worker)
                self.storage.optuna.set_trial_state_values(trial_id, TrialState.RUNNING)
            return trial_id

    def holds(self, worker: Identity, trial_id: int) -> bool:
        """Whether the trial is still this worker's."""
        with self.storage.engine.connect() as db:
            return self._holder(db, trial_id) == worker.worker_id

    def report(self, worker: Identity, trial_id: int, step: int, value: float) -> bool:
        """Report a finite intermediate value, if the trial is still this worker's; else False.

        Safe to repeat: the first value of a step stays, as in Optuna. Through Optuna and with a
        look at the lease it takes four statements and twice the time.
        """
        try:
            with self.storage.engine.begin() as db:
                statement = insert_report(trial_id, worker.worker_id, step, value)
                return bool(db.execute(statement).rowcount)
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
        """End the trial, if it is still this worker's; False if it was lost meanwhile.

        `attrs` become its user attributes. A pruned trial's value is its last reported one, as in
        Optuna. Safe to repeat after an outage.
        """
        with self.storage.lock():
            with self.storage.engine.begin() as db:
                if self._holder(db, trial_id) != worker.worker_id:
                    return False
                write_attrs(db, trial_id, attrs or {})
            self._tell(trial_id, state, value)
            self._drop_lease(trial_id)
            return True

    def release(self, worker: Identity, trial_id: int) -> None:
        """Give a running trial back unharmed, if it is still this worker's."""
        with self.storage.lock():
            with self.storage.engine.connect() as db:
                if self._holder(db, trial_id) != worker.worker_id:
                    return
            self._put_back(trial_id, deaths=None)

    def reclaim(self) -> int:
        """Put back the trials of dead workers; returns how many. Takes the lock."""
        with self.storage.lock():
            return self._reclaim_locked()

    def _scan(self) -> dict[TrialState, tuple[int, int | None]]:
        """State -> (number of trials, lowest trial id)."""
        # cast: on PostgreSQL the column is an enum, which compares with no plain string
        state = sa.cast(trials_table.c.state, sa.String)
        query = (
            sa.select(state, sa.func.count(), sa.func.min(trials_table.c.trial_id))
            .where(trials_table.c.study_id == self.study_id)
            .group_by(state)
        )
        with self.storage.engine.connect() as db:
            return {TrialState[row[0]]: (row[1], row[2]) for row in db.execute(query)}

    def _lease(self, trial_id: int, worker: Identity) -> None:
        key = leases_table.c.trial_id == trial_id
        with self.storage.engine.begin() as db:
            known = db.execute(
                sa.update(leases_table).where(key).values(worker_id=worker.worker_id)
            ).rowcount
            if not known:
                db.execute(
                    sa.insert(leases_table).values(
                        trial_id=trial_id,
                        study_id=self.study_id,
                        worker_id=worker.worker_id,
                        deaths=0,
                    )
                )

    def _holder(self, db: sa.Connection, trial_id: int) -> str | None:
        return cast(
            "str | None",
            db.execute(
                sa.select(leases_table.c.worker_id).where(leases_table.c.trial_id == trial_id)
            ).scalar(),
        )

    def _drop_lease(self, trial_id: int) -> None:
        with self.storage.engine.begin() as db:
            db.execute(sa.delete(leases_table).where(leases_table.c.trial_id == trial_id))

    def _tell(self, trial_id: int, state: TrialState, value: float | None) -> None:
        number = self.storage.optuna.get_trial_number_from_id(trial_id)
        self.study.tell(number, value, state=state, skip_if_finished=True)

    def _put_back(self, trial_id: int, deaths: int | None) -> None:
        values: dict[str, object] = {"worker_id": None}
        if deaths is not None:
            values["deaths"] = deaths
        self.storage.optuna.set_trial_state_values(trial_id, TrialState.WAITING)
        with self.storage.engine.begin() as db:
            db.execute(
                sa.update(leases_table).where(leases_table.c.trial_id == trial_id).values(**values)
            )

    def _reclaim_locked(self) -> int:
        t, lease, worker = trials_table.c, leases_table.c, workers_table.c
        age = self.storage.now() - worker.beat
        query = (
            sa.select(t.trial_id, lease.deaths, workers_table, age.label("age"))
            .select_from(
                trials_table.join(leases_table, lease.trial_id == t.trial_id, isouter=True).join(
                    workers_table, worker.worker_id == lease.worker_id, isouter=True
                )
            )
            .where(t.study_id == self.study_id, sa.cast(t.state, sa.String) == "RUNNING")
        )
        with self.storage.engine.connect() as db:
            rows = db.execute(query).all()
        dead = [row for row in rows if row.worker_id is None or is_dead(row)]
        for row in dead:
            deaths = (row.deaths or 0) + 1
            if deaths >= MAX_DEATHS:
                reason = f"poison: {deaths} workers died on it"
                self.storage.optuna.set_trial_user_attr(row.trial_id, "stop_reason", reason)
                self._tell(row.trial_id, TrialState.FAIL, None)
                self._drop_lease(row.trial_id)
            else:
                self._put_back(row.trial_id, deaths)
        self.forget_dead_workers()
        return len(dead)
