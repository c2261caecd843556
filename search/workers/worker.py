"""One worker process: claim a trial, train it, finish it, until the study's budget is spent.

Started by the supervisor or by `bloodsearch worker`. Ends with 0 (budget spent), 130 (drained),
4 (the storage stayed away), EXIT_RETIRED (three failures in a row) or EXIT_RECYCLE (grown too large). Any
other end is a death: the trial stays leased, whoever reclaims it counts the death.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import optuna
import psutil
from optuna.trial import TrialState

from ...studies import StudyFile
from .. import env
from ..database.outage import is_outage, reason_of, retry_outage
from ..database.passwords import RedactingFilter, redact
from ..database.storage import Storage, open_storage, parse_url
from ..errors import BloodsearchError, Interrupted, StorageError
from ..pruning.peers import TablePeers
from ..pruning.pruner import make_pruner
from ..sampling.draw import Accept, suggest_at_once
from ..sampling.sampler import trial_sampler
from ..sampling.space import Params
from ..study import StudyInfo, info, load
from ..training.endings import Drained
from ..trial.checkpoint_files import checkpoint_folder, forget
from ..trial.outcome import Hooks, LostLease, Trainer
from .heartbeat import Beat
from .leases import Claim, Leases, Verdict
from .liveness import own_identity
from .shutdown import Drain

MAX_FAILURES_IN_A_ROW = 3
MAX_OUTAGES_IN_A_ROW = 5
"""Trials that a failing storage has thrown out of, one after the other: this is no outage then."""
POLL_S = 0.25
EXIT_RECYCLE = 75
"""Asks the supervisor for a fresh process in this one's place."""
EXIT_RETIRED = 76
"""Tells the supervisor that a fresh process would do no better."""

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    storage_url: str
    study_name: str
    device: str
    """The torch device as this process sees it."""
    slot: str
    """The device as the machine calls it: a worker pinned to cuda:3 sees it as cuda:0."""
    threads: int
    data_root: Path | None
    n_trials: int | None
    """The study's total of finished trials; None: what the last `optimize` asked for."""


class Recycle(Exception):
    """This process has grown past its memory limit and holds no trial."""


class Retired(BloodsearchError):
    """Too many trials in a row failed here."""

    exit_code = EXIT_RETIRED


MakeTrainer = Callable[[StudyInfo, WorkerSettings], Trainer]


def torch_trainer(study_info: StudyInfo, settings: WorkerSettings) -> Trainer:
    # torch comes in here, after the supervisor has set the device and the thread counts
    from ..trial.objective import TorchTrainer

    return TorchTrainer(
        study_info,
        device=settings.device,
        threads=settings.threads,
        data_root=settings.data_root,
    )


def run_worker(
    settings: WorkerSettings, drain: Drain, make_trainer: MakeTrainer = torch_trainer
) -> None:
    """Work until the budget is spent.

    Raises Recycle when the process should be replaced, Interrupted when drained, StorageError when
    the storage stayed away, Retired after three failed trials in a row.
    """
    storage = open_storage(settings.storage_url, create=False, give_up=drain)
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
        self.leases = Leases(storage, study)
        self.me = own_identity(settings.slot)
        self.beat = Beat(self.leases, self.me, drain)
        self.pruner = make_pruner(self.info.study_file, TablePeers(storage.engine))
        self.make_trainer = make_trainer
        self.failures = self.outages = 0

    def run(self) -> None:
        self.trainer = self.make_trainer(self.info, self.settings)
        self.drain.begin()
        self._persist(lambda: self.leases.register(self.me))
        try:
            with self.beat.running():
                while not self.drain():
                    if self._step() is Verdict.SPENT:
                        break
                else:
                    raise Interrupted("drained; the same command goes on")
        except (BloodsearchError, Recycle):
            self._leave()
            raise
        self._leave()

    def _leave(self) -> None:
        with contextlib.suppress(Exception):
            self.leases.unregister(self.me)
        self.storage.close()

    def _step(self) -> Verdict | None:
        """Claim and run one trial; Verdict when there was none."""
        claimed = retry_outage(self._claim, give_up=self.drain)
        self.beat.signed_in()  # as every claim does
        if isinstance(claimed, Verdict):
            if claimed is Verdict.WAIT:
                self.drain.wait(POLL_S)
            return claimed
        try:
            self._run_through_outages(claimed)
            _check_memory()
        except (BloodsearchError, Recycle):
            with contextlib.suppress(Exception):
                self.leases.release(self.me, claimed.trial_id)
            raise
        return None

    def _claim(self) -> Claim | Verdict:
        n_trials = self.settings.n_trials or self.study.user_attrs.get("n_trials") or 0
        may_create = self.info.kind == "search" and self.info.study_file.search.sampler in (
            "tpe",
            "random",
        )
        return self.leases.claim(self.me, n_trials, may_create=may_create)

    def _run_through_outages(self, claim: Claim) -> None:
        """Run the trial; give it back if the storage went away where nothing waits for it."""
        try:
            self._run(claim)
            self.outages = 0
        except Exception as error:
            self.outages += 1
            if not is_outage(error):
                raise
            if self.outages >= MAX_OUTAGES_IN_A_ROW:
                raise StorageError(
                    f"the storage fails again and again: {reason_of(error)}"
                ) from None
            self._persist(lambda: self.leases.release(self.me, claim.trial_id))

    def _run(self, claim: Claim) -> None:
        trial_id, number = claim

        def report(epoch: int, value: float) -> None:
            if not self._persist(lambda: self.leases.report(self.me, trial_id, epoch, value)):
                raise LostLease

        def view(draw: int) -> optuna.Trial:
            # a study of its own: one that `study.ask` or `tell` does not refresh shows its sampler for ever
            # the trials that there were at its first look (`Study._get_trials(use_cache=True)`, Optuna 5.0.0)
            sampler = trial_sampler(self.info.study_file, number, draw)
            study = optuna.load_study(
                study_name=self.info.name, storage=self.storage.optuna, sampler=sampler
            )
            return optuna.Trial(study, trial_id)

        def suggest(trial: optuna.Trial, file: StudyFile, accept: Accept) -> Params:
            # a fresh view each time: an attempt that an outage ended has left its draws in the old one
            engine = self.storage.engine
            return self._persist(
                lambda: suggest_at_once(engine, view(0), file, redraw=view, accept=accept)
            )

        hooks = Hooks(
            should_stop=lambda: self.drain() or self.beat.lost.is_set(),
            suggest=suggest,
            report=report,
            persist=self._persist,
            warn=_log.warning,
        )
        trial = self._persist(lambda: view(0))
        try:
            outcome = self.trainer(trial, self.pruner, checkpoint_folder(self.storage), hooks)
        except (Drained, LostLease):
            self._persist(lambda: self.leases.release(self.me, trial_id))
            return

        attrs = dict(outcome.attrs)
        for key in ("stop_reason", "traceback"):  # they quote whatever a failing line had in hand
            if key in attrs:
                attrs[key] = redact(attrs[key], self.storage.url)
        mine = self._persist(
            lambda: self.leases.finish(self.me, trial_id, outcome.state, outcome.value, attrs)
        )
        if mine and outcome.checkpoint is not None:
            forget(outcome.checkpoint)
        self._count_failure(number, outcome.state, attrs)

    def _count_failure(self, number: int, state: TrialState, attrs: dict[str, Any]) -> None:
        if state is not TrialState.FAIL:
            self.failures = 0
            return
        self.failures += 1
        _log.warning("trial %d failed: %s", number, attrs["stop_reason"])
        if self.failures >= MAX_FAILURES_IN_A_ROW:
            raise Retired(
                f"this worker retires after {self.failures} failures in a row, the last one in "
                f"trial {number}: {attrs['stop_reason']}; `bloodsearch show {number}` has the traceback"
            )

    def _persist(self, write: Callable[[], T]) -> T:
        return retry_outage(write, give_up=self.drain)


def _check_memory() -> None:
    if psutil.Process().memory_info().rss > env.worker_mb() * 2**20:
        raise Recycle


def configure_logging(storage_url: str) -> None:
    """One line per message on standard error, without the storage's password."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="bloodsearch: %(message)s", force=True
    )
    for handler in logging.getLogger().handlers:
        handler.addFilter(RedactingFilter(parse_url(storage_url)))
