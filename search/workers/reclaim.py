"""Putting back the trials of dead workers. Every function here needs the study's lock."""

from __future__ import annotations

import sqlalchemy as sa
from optuna.trial import TrialState

from ..database.optuna_rows import back_to_waiting, end_trial, trials_table, write_attrs
from ..database.tables import leases_table, workers_table

MAX_DEATHS = 3
"""A trial whose workers died this often fails."""


def lease_of(trial_id: int, worker_id: str) -> sa.ColumnElement[bool]:
    """Return the condition that selects the lease of a trial, if the worker holds it."""
    lease = leases_table.c
    return (lease.trial_id == trial_id) & (lease.worker_id == worker_id)


def end_lease(db: sa.Connection, trial_id: int, worker_id: str) -> bool:
    """End the worker's lease but keep the trial's number of deaths. False if it holds no lease."""
    values: dict[str, None] = {"worker_id": None}
    key = lease_of(trial_id, worker_id)
    return bool(db.execute(sa.update(leases_table).where(key).values(**values)).rowcount)


def put_back_trials_of(db: sa.Connection, worker_id: str, *, count_death: bool) -> int:
    """Put back what a dead worker held and return the number of trials."""
    lease = leases_table.c
    query = sa.select(lease.trial_id, lease.deaths).where(lease.worker_id == worker_id)
    n_back = 0
    for trial_id, n_deaths in db.execute(query).all():
        # the worker may finish the trial at this moment, and the lease is then gone
        if end_lease(db, trial_id, worker_id):
            n_back += 1
            _requeue_or_fail(db, trial_id, n_deaths + count_death)
    return n_back


def put_back_orphans(db: sa.Connection, study_id: int) -> int:
    """Put back running trials without a registered worker, and return their number."""
    t, lease, worker = trials_table.c, leases_table.c, workers_table.c
    tables = trials_table.join(leases_table, lease.trial_id == t.trial_id, isouter=True).join(
        workers_table, worker.worker_id == lease.worker_id, isouter=True
    )
    running = (t.study_id == study_id) & (t.state == TrialState.RUNNING)
    query = sa.select(t.trial_id, lease.worker_id).select_from(tables)
    orphans = db.execute(query.where(running, worker.worker_id.is_(None))).all()
    for trial_id, worker_id in orphans:
        if worker_id is not None:
            end_lease(db, trial_id, worker_id)
        back_to_waiting(db, trial_id)
    return len(orphans)


def _requeue_or_fail(db: sa.Connection, trial_id: int, n_deaths: int) -> None:
    key = leases_table.c.trial_id == trial_id
    if n_deaths >= MAX_DEATHS:
        reason = f"poison: {n_deaths} workers died on it"
        write_attrs(db, trial_id, {"stop_reason": reason})
        end_trial(db, trial_id, TrialState.FAIL, None)
        db.execute(sa.delete(leases_table).where(key))
    else:
        back_to_waiting(db, trial_id)
        db.execute(sa.update(leases_table).where(key).values(deaths=n_deaths))
