"""One worker process: claim a trial, train it, finish it, until the study's budget is spent.

The supervisor and `bloodsearch worker` start it. Its exit code is 0 (budget spent), 130 (drained), 4 (the
storage stayed unavailable), EXIT_RETIRED (three failures in a row) or EXIT_RECYCLE (too much memory). Any
other end is a death: the trial stays leased until another process reclaims it and counts the death.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.trial import TrialState

from .. import env
from ..database.outage import is_outage, reason_of, retry_outage
from ..database.passwords import RedactingFilter
from ..database.storage import Storage, open_storage, parse_url
from ..database.trial_cache import with_trial_cache
from ..errors import BloodsearchError, Interrupted, LostStudyError, StorageError
from ..pruning.pruner import make_pruner
from ..study import StudyInfo, info, load
from ..training.endings import Drained
from ..trial.outcome import LostLease
from ..trial.session import Trainer
from .heartbeat import Heartbeat
from .leases import Claim, Leases, Verdict
from .liveness import own_identity
from .notes import leave_note
from .session import LeasedTrial
from .shutdown import Drain

MAX_FAILURES_IN_A_ROW = 3
MAX_OUTAGES_IN_A_ROW = 5
"""After so many trials in a row that an outage interrupted, the fault is not an outage."""
POLL_S = 0.25
"""The shortest pause in seconds of a worker that got no trial."""
MAX_POLLS_PER_S = 50.0
"""How often all workers without a trial may claim together. Each claim keeps the others waiting."""
EXIT_RECYCLE = 75
"""Asks the supervisor to start a new process in this one's place."""
EXIT_RETIRED = 76
"""Tells the supervisor not to start a new process."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    storage_url: str
    study_name: str
    device: str
    """The torch device, by its name in this process."""
    slot: str
    """The device, by its name on the machine. A worker pinned to cuda:3 sees it as cuda:0."""
    threads: int
    data_root: Path | None
    n_trials: int | None
    """The study's total of finished trials; None for the total of the last `optimize`."""
    worker_id: str
    """By which its supervisor knows it."""
    node: str = ""
    """The cluster's id of its node; empty outside of a cluster."""


class Recycle(Exception):
    """This process uses more memory than its limit and holds no trial."""


class Retired(BloodsearchError):
    """Too many trials in a row failed here."""

    exit_code = EXIT_RETIRED


MakeTrainer = Callable[[StudyInfo, WorkerSettings], Trainer]


def torch_trainer(study_info: StudyInfo, settings: WorkerSettings) -> Trainer:
    """Load the data and return the trainer."""
    # imports torch, which reads the device and thread counts that the supervisor has set
    from ..trial.objective import TorchTrainer

    return TorchTrainer(
        study_info,
        device=settings.device,
        threads=settings.threads,
        data_root=settings.data_root,
    )


def poll_s(n_workers: int) -> float:
    """Return how long one of `n_workers` waits before it claims again, in seconds."""
    return max(POLL_S, n_workers / MAX_POLLS_PER_S)


def run_worker(
    settings: WorkerSettings, drain: Drain, make_trainer: MakeTrainer = torch_trainer
) -> None:
    """Run trials until the budget is spent.

    Raises Recycle when the process should be replaced, Interrupted when drained, StorageError when
    the storage stayed unavailable, Retired after three failed trials in a row.
    """
    storage = with_trial_cache(open_storage(settings.storage_url, create=False, give_up=drain))
    study = retry_outage(lambda: load(storage, settings.study_name), give_up=drain)
    _Worker(settings, storage, study, drain, make_trainer).run()


class _Worker:
    def __init__(
        self,
        settings: WorkerSettings,
        storage: Storage,
        study: optuna.Study,
        drain: Drain,
        make_trainer: MakeTrainer,
    ) -> None:
        self.settings, self.storage, self.study, self.drain = settings, storage, study, drain
        self.info: StudyInfo = retry_outage(lambda: info(study), give_up=drain)
        self.identity = own_identity(
            settings.slot, worker_id=settings.worker_id, node=settings.node
        )
        self.leases = Leases(storage, study, node=self.identity.node)
        self.heartbeat = Heartbeat(self.leases.registry, self.identity, drain)
        self.pruner = make_pruner(self.info.study_file)
        self.make_trainer = make_trainer
        self.n_failures = self.n_outages = 0

    def run(self) -> None:
        self.trainer = self.make_trainer(self.info, self.settings)
        self.drain.begin()
        retry_outage(lambda: self.leases.registry.register(self.identity), give_up=self.drain)
        try:
            with self.heartbeat.running():
                while not self.drain():
                    if self._step() is Verdict.SPENT:
                        break
                else:
                    raise Interrupted("drained; run the same command again to resume")
        except (BloodsearchError, Recycle):
            self._leave(limit_s=0)
            raise
        self._leave(limit_s=5)

    def _leave(self, limit_s: float) -> None:
        """Unregister. Wait up to `limit_s` seconds for a database that is unavailable or full."""
        unregister = functools.partial(self.leases.registry.unregister, self.identity)
        with contextlib.suppress(Exception):
            try:
                retry_outage(unregister, limit_s=limit_s)
            except LostStudyError:
                raise  # nobody will look for its workers
            except StorageError:
                leave_note(self.storage, self.study.study_name, self.identity.worker_id)
        self.storage.close()

    def _step(self) -> Verdict | None:
        """Claim and run one trial. Return the verdict if there was none."""
        claim = retry_outage(self._claim, give_up=self.drain)
        self.heartbeat.registered()  # every claim registers the worker
        if isinstance(claim, Verdict):
            if claim is Verdict.WAIT:
                self.drain.wait(poll_s(self.leases.registry.n_workers))
            return claim
        session = LeasedTrial(
            claim, self.info, self.leases, self.identity, self.pruner, self.heartbeat, self.drain
        )
        try:
            self._run_through_outages(session)
            _check_memory()
        except (BloodsearchError, Recycle):
            with contextlib.suppress(Exception):
                self.leases.release(self.identity, claim.trial_id)
            raise
        return None

    def _claim(self) -> Claim | Verdict:
        try:
            n_trials = self.settings.n_trials or self.study.user_attrs.get("n_trials") or 0
        except KeyError:  # Optuna's word for a study that does not exist
            self.leases.check_study()
            raise
        may_create = self.info.kind == "search" and self.info.study_file.search.sampler in (
            "tpe",
            "random",
        )
        return self.leases.claim(self.identity, n_trials, may_create=may_create)

    def _run_through_outages(self, session: LeasedTrial) -> None:
        """Run the trial. Put it back after an outage that no retry caught."""
        try:
            self._run(session)
            self.n_outages = 0
        except BloodsearchError:
            raise
        except Exception as error:
            if not is_outage(error):
                self.leases.check_study()
                raise
            self.n_outages += 1
            if self.n_outages >= MAX_OUTAGES_IN_A_ROW:
                raise StorageError(
                    f"the storage fails again and again: {reason_of(error)}"
                ) from None
            session.release()

    def _run(self, session: LeasedTrial) -> None:
        try:
            outcome = self.trainer(session)
        except (Drained, LostLease):
            session.release()
            return
        if outcome.state is TrialState.FAIL:
            self.leases.check_study()  # which explains any error
        attrs = session.finish(outcome)
        self._count_failure(session.claim.number, outcome.state, attrs)

    def _count_failure(self, number: int, state: TrialState, attrs: dict[str, Any]) -> None:
        if state is not TrialState.FAIL:
            self.n_failures = 0
            return
        self.n_failures += 1
        _log.warning("trial %d failed: %s", number, attrs["detail"])
        if self.n_failures >= MAX_FAILURES_IN_A_ROW:
            raise Retired(
                f"this worker stops after {self.n_failures} failures in a row, the last one in "
                f"trial {number}: {attrs['detail']}; `bloodsearch show {number}` has the traceback"
            )


def _check_memory() -> None:
    if psutil.Process().memory_info().rss > env.worker_mb() * 2**20:
        raise Recycle


def configure_logging(storage_url: str) -> None:
    """Log one line per message to standard error, without the storage's password."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="bloodsearch: %(message)s", force=True
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(RedactingFilter(parse_url(storage_url)))
