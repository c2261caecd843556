"""Run a user's own objective with exact claims: many processes share one budget."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable

import optuna
from optuna.trial import TrialState

from ..database.outage import retry_outage
from ..database.storage import Storage
from ..database.tables import create_tables
from ..errors import Interrupted, StorageError
from ..workers.heartbeat import Heartbeat
from ..workers.leases import Claim, Leases, Verdict
from ..workers.liveness import Identity, own_identity
from ..workers.shutdown import Drain

Objective = Callable[[optuna.Trial], float]
WAIT_S = 0.25
RELEASE_S = 5.0
"""How long an interrupted process waits for a database that is down."""


def run_trials(storage: Storage, study: optuna.Study, objective: Objective, n_trials: int) -> None:
    """Run `objective` until `study` has exactly `n_trials` complete and pruned trials.

    Any number of processes, on any machine that reaches the storage, may call this at once: together they
    run `n_trials`. The trial of a process that dies is run again by another one.

    Args:
        storage: The storage, from `open_storage`.
        study: A study with one objective in `storage.optuna`, with the sampler and pruner to use.
        objective: Returns a trial's value; may raise optuna.TrialPruned.
        n_trials: The total of all processes, including trials that are finished already.

    An exception of `objective` fails its trial and is raised. Ctrl-C gives the trial back. While the database
    is down, results wait for it; StorageError is raised after $BLOODSEARCH_OUTAGE_S seconds.
    """
    with storage.lock():
        create_tables(storage.engine)
    leases, worker, drain = Leases(storage, study), own_identity("objective"), Drain()
    heartbeat = Heartbeat(leases.registry, worker, drain)
    drain.begin()
    retry_outage(lambda: leases.registry.register(worker))
    try:
        with heartbeat.running():
            while not drain():
                claim = retry_outage(
                    lambda: leases.claim(worker, n_trials, may_create=True), give_up=drain
                )
                heartbeat.registered()
                if claim is Verdict.SPENT:
                    return
                if isinstance(claim, Claim):
                    _run(leases, worker, study, claim, objective)
                else:
                    drain.wait(WAIT_S)
        raise Interrupted("drained; the same call resumes")
    finally:
        with contextlib.suppress(Exception):
            leases.registry.unregister(worker)


def _run(
    leases: Leases, worker: Identity, study: optuna.Study, claim: Claim, objective: Objective
) -> None:
    # a new study each time: its sampler would go on seeing the trials of its first look
    fresh = optuna.load_study(
        study_name=study.study_name,
        storage=leases.storage.optuna,
        sampler=study.sampler,
        pruner=study.pruner,
    )
    state, value = TrialState.FAIL, None
    try:
        value = float(objective(optuna.Trial(fresh, claim.trial_id)))
        state = TrialState.FAIL if math.isnan(value) else TrialState.COMPLETE
    except optuna.TrialPruned:
        state = TrialState.PRUNED
    except Exception:
        with contextlib.suppress(StorageError):  # the objective's own error says more
            retry_outage(lambda: leases.finish(worker, claim.trial_id, TrialState.FAIL, None))
        raise
    except BaseException:
        with contextlib.suppress(StorageError):
            retry_outage(lambda: leases.release(worker, claim.trial_id), limit_s=RELEASE_S)
        raise
    value = value if state is TrialState.COMPLETE else None
    retry_outage(lambda: leases.finish(worker, claim.trial_id, state, value))
