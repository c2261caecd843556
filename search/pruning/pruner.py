"""When a trial is stopped, and why.

Peers are finished trials of the same family: a fast family must not end a slow starter of the
other. Each is judged by its best epoch so far, carried forward past its own end, because single
epochs of a BatchNorm network jump by 0.1-0.2 and because a trial that patience ended early is still a
peer.

Two rules: "family" stops what is below a quantile of its peers now, and needs a warm-up, because the first
epochs' order says little of the end (`python -m benchmarks landscape`); "forecast" learns from peers how far
trainings still come and how uncertain that is, and stops what is unlikely to end among the best of all
families.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import optuna
from optuna.trial import FrozenTrial

from ...studies import StudyFile
from ...studies.schema import Pruner
from .forecast import Forecast
from .peers import Losses, Peer, Peers, StudyPeers, losses_at
from .quantile import Quantile

REREAD_S = 2.0
"""Within a trial, how old the list of peers may be: reading it costs milliseconds per epoch."""


class Rule(Protocol):
    """Decides from the finished trials that it was told."""

    def learn(self, peers: Sequence[Peer]) -> None:
        """More trials have finished; each has reported something."""
        ...

    def verdict(self, family: str, epoch: int, own: float, losses: Losses | None) -> str | None:
        """Why a trial should stop after `epoch`, its best value so far being `own`; None to go on."""
        ...


class FamilyPruner(optuna.pruners.BasePruner):
    """Prunes a trial that its peers leave behind; `reason` tells why in words."""

    def __init__(
        self,
        settings: Pruner,
        peers: Peers | None = None,
        epochs_of: Callable[[str], int] | None = None,
    ) -> None:
        """`peers` tells which trials have finished; without it the study's own storage is asked.

        `epochs_of` tells the length of a family's schedule: a longer trial (a baseline has its own recipe)
        is no example of how the others go on.
        """
        self.settings = settings
        self.peers = peers or StudyPeers()
        self._rule: Rule = Quantile(settings)
        if settings.name == "forecast":
            self._rule = Forecast(settings, epochs_of or (lambda family: 2**31))
        self._read_at = -math.inf

    def new_trial(self) -> None:
        """Look at the storage afresh at the next decision: other trials may have finished."""
        self._read_at = -math.inf

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Optuna's interface; family and losses are the trial's user attributes, as ours have them."""
        return self.reason(study, trial) is not None

    def reason(self, study: optuna.Study, trial: FrozenTrial) -> str | None:
        """Why `trial` should stop now, or None if it should go on."""
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
        """As `reason`, for a trial of which reports (epoch -> value) and last losses are known here."""
        epoch = max(values, default=0)
        if self.settings.name == "none" or epoch < self.settings.warmup_of(family):
            return None
        if time.monotonic() - self._read_at > REREAD_S:
            self._read(study)
            self._read_at = time.monotonic()
        own = max(values.values())
        verdict = self._rule.verdict(family, epoch, own, losses)
        return verdict and f"best of {epoch} epochs {own:.4f} {verdict}"

    def _read(self, study: optuna.Study) -> None:
        """Learn of trials that finished since the last look; finished trials stay as they are."""
        self._rule.learn([peer for peer in self.peers.new(study) if peer.values])


def make_pruner(study_file: StudyFile, peers: Peers | None = None) -> FamilyPruner:
    return FamilyPruner(study_file.pruner, peers, study_file.training.epochs_of)
