"""The pruner: when a trial is stopped, and why.

A trial is compared with its peers, the finished trials of its family. A fast family must not end slow
starters of another one. The value compared is the best epoch so far, because single epochs of a BatchNorm
network jump by 0.1 to 0.2. It is carried forward past a peer's end, so a trial that early stopping ended
remains a peer.

There are two rules. "family" prunes a trial below a quantile of its peers at the same epoch. It needs a
warm-up, because the order of the first epochs says little about the end (`python -m benchmarks landscape`).
"forecast" learns from peers how much trainings still improve and how uncertain that is. It prunes a trial
that is unlikely to end among the best of all families.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from ...studies import StudyFile
from ...studies.sections import Pruner
from .forecast import Forecast
from .peers import Losses, Peer, StudyPeers, losses_at
from .quantile import Quantile

REREAD_S = 2.0
"""Largest age in seconds of the list of peers within a trial. Reading it takes milliseconds."""


def _no_schedule(family: str) -> int:
    return 2**31


class Rule(Protocol):
    """A rule that decides from finished trials."""

    def learn(self, peers: Sequence[Peer]) -> None:
        """Add finished trials. Each has at least one report."""
        ...

    def verdict(self, family: str, epoch: int, own: float, losses: Losses | None) -> str | None:
        """Return why a trial whose best value is `own` should stop after `epoch`, or None."""
        ...


@dataclass(slots=True)
class _Memory:
    """The state of a pruner for one study."""

    rule: Rule
    peers: StudyPeers
    sign: int
    """1 for a study that maximizes, -1 for one that minimizes."""
    read_at: float = -math.inf

    def read(self, study: optuna.Study) -> None:
        """Learn the trials that finished since the last look. Finished trials never change."""
        peers = [
            dataclasses.replace(peer, values=self.scores(peer.values))
            for peer in self.peers.new(study)
        ]
        self.rule.learn([peer for peer in peers if peer.values])
        self.read_at = time.monotonic()

    def scores(self, values: dict[int, float]) -> dict[int, float]:
        """Return the finite values from epoch 1 on as scores, of which a higher one is better.

        The score of a value to minimize, such as a loss, is 1 - value: the rules treat 1 - score as an error.
        """
        return {
            epoch: value if self.sign > 0 else 1 - value
            for epoch, value in values.items()
            if epoch >= 1 and math.isfinite(value)
        }


class FamilyPruner(optuna.pruners.BasePruner):
    """Prune a trial that its peers leave behind; `reason` gives the words.

    It works in any Optuna study with one objective, in either direction, with threads (`n_jobs`) and for
    several studies at once. Steps of reports are epochs and start at 1. A trial's user attribute `family`
    restricts its peers to trials with the same one.
    """

    def __init__(
        self,
        settings: Pruner,
        epochs_of: Callable[[str], int] = _no_schedule,
    ) -> None:
        """Make a pruner that knows no study yet.

        `epochs_of` returns the length of a family's schedule. A longer trial (a baseline has its own recipe)
        does not show how shorter ones continue.
        """
        self.settings = settings
        self.epochs_of = epochs_of
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        # by storage, then by study id, because a study's id or name alone may occur in two storages
        self._memories: weakref.WeakKeyDictionary[BaseStorage, dict[int, _Memory]] = (
            weakref.WeakKeyDictionary()
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what was learned: a copy in another process learns it again."""
        return {key: value for key, value in vars(self).items() if not key.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._forget()

    def new_trial(self) -> None:
        """Read the storage again at the next decision: other trials may have finished."""
        with self._lock:
            for memories in self._memories.values():
                for memory in memories.values():
                    memory.read_at = -math.inf

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Return whether `trial` should stop now, as Optuna asks it."""
        return self.reason(study, trial) is not None

    def reason(self, study: optuna.Study, trial: FrozenTrial) -> str | None:
        """Return why `trial` should stop now, or None if it should continue.

        Its family and losses are read from its user attributes.
        """
        self.new_trial()
        attrs, values = trial.user_attrs, trial.intermediate_values
        losses = losses_at(
            max(values, default=0), attrs.get("train_losses"), attrs.get("val_losses")
        )
        return self.reason_for(study, str(attrs.get("family")), values, losses)

    def reason_for(
        self,
        study: optuna.Study,
        family: str,
        values: dict[int, float],
        losses: Losses | None = None,
    ) -> str | None:
        """Decide as `reason`, for a trial whose reports (epoch -> value) and last losses are given."""
        epoch = max(values, default=0)
        if self.settings.name == "none" or epoch < max(1, self.settings.warmup_of(family)):
            return None
        with self._lock:
            memory = self._memory_of(study)
            scores = memory.scores(values)
            if not scores:
                return None
            if time.monotonic() - memory.read_at > REREAD_S:
                memory.read(study)
            best = max(scores.values())
            verdict = memory.rule.verdict(family, epoch, best, losses)
        unit = "" if memory.sign > 0 else " (as 1 - value)"
        return verdict and f"best{unit} {best:.4f} by epoch {epoch}; {verdict}"

    def _memory_of(self, study: optuna.Study) -> _Memory:
        memories = self._memories.setdefault(study._storage, {})
        if study._study_id not in memories:
            minimize = study.direction is optuna.study.StudyDirection.MINIMIZE
            memories[study._study_id] = _Memory(
                self._new_rule(), StudyPeers(), -1 if minimize else 1
            )
        return memories[study._study_id]

    def _new_rule(self) -> Rule:
        if self.settings.name == "forecast":
            return Forecast(self.settings, self.epochs_of)
        return Quantile(self.settings)


def make_pruner(study_file: StudyFile) -> FamilyPruner:
    """Return the pruner that a study file asks for."""
    return FamilyPruner(study_file.pruner, study_file.training.epochs_of)
