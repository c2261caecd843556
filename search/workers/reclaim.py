"""Putting back the trials of dead workers and of other programs.

Every function here needs the study's lock.

An Optuna client (a notebook, the dashboard) may ask for a trial of the study. Such a trial runs without a
lease of ours. It gets a lease in the name of a stand-in worker that sends no heartbeats, so the client has
the time of one lease to finish it before another worker takes it over.
"""

from __future__ import annotations

import sqlalchemy as sa
from optuna.trial import TrialState

from ..database.optuna_rows import back_to_waiting, end_trial, trials_table, write_attrs
from ..database.tables import leases_table, workers_table
from ..records import Ending, end_attributes
from .liveness import Identity
from .registry import FOREIGN, Registry

MAX_DEATHS = 3
"""A trial whose workers died this often fails."""


def stand_in(trial_id: int) -> Identity:
    """Return the worker in whose name a trial of another program is leased."""
    return Identity(
        worker_id=f"{FOREIGN}{trial_id}",
        host="another program",
        pid=0,
        pid_started=0.0,
        boot_id="-/-",
        device="-",
    )


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
    """Put back running trials whose worker is not registered, and return their number."""
    lease = leases_table.c
    n_back = 0
    for trial_id, worker_id in db.execute(
        _without_worker(study_id).where(lease.worker_id.is_not(None))
    ).all():
        # the worker may finish or release the trial at this moment
        if end_lease(db, trial_id, str(worker_id)):
            n_back += 1
            back_to_waiting(db, trial_id)
    return n_back


def lease_foreign_trials(db: sa.Connection, registry: Registry) -> None:
    """Lease the running trials of other programs to stand-in workers, and drop those that ended."""
    lease, study_id = leases_table.c, registry.study_id
    query = _without_worker(study_id).where(lease.worker_id.is_(None))
    for trial_id, _ in db.execute(query).all():
        registry.renew_or_register(db, stand_in(trial_id))
        lease_trial(db, study_id, trial_id, stand_in(trial_id).worker_id)
    t = trials_table.c
    held = sa.select(lease.worker_id, t.trial_id, t.state).join_from(
        leases_table, trials_table, t.trial_id == lease.trial_id
    )
    foreign = (lease.study_id == study_id) & lease.worker_id.startswith(FOREIGN)
    for worker_id, trial_id, state in db.execute(held.where(foreign)).all():
        if state is not TrialState.RUNNING:
            db.execute(sa.delete(workers_table).where(workers_table.c.worker_id == worker_id))
            end_lease(db, trial_id, worker_id)


def lease_trial(db: sa.Connection, study_id: int, trial_id: int, worker_id: str) -> None:
    """Lease a trial to a worker. Its number of deaths stays."""
    key = leases_table.c.trial_id == trial_id
    update = sa.update(leases_table).where(key).values(worker_id=worker_id)
    if not db.execute(update).rowcount:
        row = {"trial_id": trial_id, "study_id": study_id, "deaths": 0}
        db.execute(sa.insert(leases_table).values(worker_id=worker_id, **row))


def _without_worker(study_id: int) -> sa.Select[int, str | None]:
    """Select running trials that no registered worker holds, and the worker of their lease."""
    t, lease, worker = trials_table.c, leases_table.c, workers_table.c
    tables = trials_table.join(leases_table, lease.trial_id == t.trial_id, isouter=True).join(
        workers_table, worker.worker_id == lease.worker_id, isouter=True
    )
    running = (t.study_id == study_id) & (t.state == TrialState.RUNNING)
    query = sa.select(t.trial_id, lease.worker_id).select_from(tables)
    return query.where(running, worker.worker_id.is_(None))


def _requeue_or_fail(db: sa.Connection, trial_id: int, n_deaths: int) -> None:
    key = leases_table.c.trial_id == trial_id
    if n_deaths >= MAX_DEATHS:
        if end_trial(db, trial_id, TrialState.FAIL, None):
            detail = f"{n_deaths} workers died on it"
            write_attrs(db, trial_id, end_attributes(Ending.POISON, detail))
        db.execute(sa.delete(leases_table).where(key))
    else:
        back_to_waiting(db, trial_id)
        db.execute(sa.update(leases_table).where(key).values(deaths=n_deaths))
