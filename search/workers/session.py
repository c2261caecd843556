"""One trial in the hands of a worker."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import optuna

from ...studies import StudyFile
from ..database.outage import retry_outage
from ..database.passwords import redact
from ..pruning.pruner import FamilyPruner
from ..sampling.draw import Accept, suggest_at_once
from ..sampling.sampler import trial_sampler
from ..sampling.space import Params
from ..sampling.study_view import StudyView
from ..study import StudyInfo
from ..trial.checkpoint_files import checkpoint_folder, forget
from ..trial.outcome import LostLease, Outcome
from .heartbeat import Heartbeat
from .leases import Claim, Leases
from .liveness import Identity
from .shutdown import Drain

_log = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class LeasedTrial:
    """A claimed trial and the lease on it. Implements `trial.session.Session`.

    Every method but `warn` and `should_stop` waits for a database that is down, and raises
    StorageError when the outage lasts too long.
    """

    claim: Claim
    study_info: StudyInfo
    leases: Leases
    worker: Identity
    pruner: FamilyPruner
    heartbeat: Heartbeat
    drain: Drain

    @functools.cached_property
    def trial(self) -> optuna.Trial:
        """The claimed trial, without any redraw."""
        return self.persist(self._view, 0)

    @property
    def checkpoints(self) -> Path:
        """The folder for checkpoints."""
        return checkpoint_folder(self.leases.storage)

    def suggest(self, file: StudyFile, accept: Accept) -> Params:
        """Sample and store all parameters. Draws again while `accept` refuses them."""
        return self.persist(self._suggest, file, accept)

    def report(self, epoch: int, value: float) -> None:
        """Store an epoch's value. Raises LostLease when the worker no longer holds the trial."""
        if not self.persist(self.leases.report, self.worker, self.claim.trial_id, epoch, value):
            raise LostLease

    def keep_reports(self, values: dict[int, float]) -> None:
        """Store `values`, by epoch, in place of all reports. Raises LostLease as `report` does."""
        if not self.persist(self.leases.keep_reports, self.worker, self.claim.trial_id, values):
            raise LostLease

    def persist(self, operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `operation`, again while the database is down."""
        return retry_outage(functools.partial(operation, *args, **kwargs), give_up=self.drain)

    def should_stop(self) -> bool:
        """Return whether the worker drains or was declared dead."""
        return self.drain() or self.heartbeat.lost.is_set()

    def warn(self, message: str) -> None:
        """Log a warning."""
        _log.warning(message)

    def finish(self, outcome: Outcome) -> dict[str, Any]:
        """Store the outcome and remove the checkpoint, if the worker still holds the trial.

        Return the stored attributes, which never hold the storage's password.
        """
        attrs = dict(outcome.attrs)
        for key in ("detail", "traceback"):
            if key in attrs:
                attrs[key] = redact(attrs[key], self.leases.storage.url)
        trial_id, state, value = self.claim.trial_id, outcome.state, outcome.value
        stored = self.persist(self.leases.finish, self.worker, trial_id, state, value, attrs)
        if stored and outcome.checkpoint is not None:
            forget(outcome.checkpoint)
        return attrs

    def release(self) -> None:
        """Put the trial back unharmed, if the worker still holds it."""
        self.persist(self.leases.release, self.worker, self.claim.trial_id)

    def _suggest(self, file: StudyFile, accept: Accept) -> Params:
        # a new view each time: an attempt that an outage ended has left its draws in the old one
        # the transaction of the claim: two workers must not store one point
        begin = functools.partial(self.leases.storage.exclusive, self.leases.study_id)
        return suggest_at_once(begin, self._view(0), file, redraw=self._view, accept=accept)

    def _view(self, draw: int) -> optuna.Trial:
        # a new study each time: one that `study.ask` or `tell` does not refresh caches the list of trials
        # that its sampler sees (`Study._get_trials(use_cache=True)`, Optuna 5.0.0)
        sampler = trial_sampler(self.study_info.study_file, self.claim.number, draw)
        storage = self.leases.storage.optuna
        study = StudyView(self.study_info.name, storage, sampler)
        return optuna.Trial(study, self.claim.trial_id)
