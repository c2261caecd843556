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
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from search.forecast import Examples, Values, chance, seen
from search.peers import Losses, Peer, Peers, StudyPeers, losses_at
from studies.schema import Pruner

REREAD_S = 2.0
"""Within a trial, how old the list of peers may be: reading it costs milliseconds per epoch."""


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
        self.epochs_of = epochs_of or (lambda family: 2**31)
        # by family: best value so far (trials, epochs), and which of these trials are complete
        self._curves: dict[str, Values] = {}
        self._complete: dict[str, NDArray[np.bool_]] = {}
        self._examples: defaultdict[str, Examples] = defaultdict(Examples)
        """By family, complete trials not longer than its schedule."""
        self._finals: list[float] = []
        """Of complete trials of all families, in rising order."""
        self._n_finished = 0
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
        if family not in self._curves:
            return None
        own = max(values.values())
        if self.settings.name == "forecast":
            verdict = self._forecast(family, epoch, own, losses)
        else:
            verdict = self._below_quantile(family, epoch, own)
        return verdict and f"best of {epoch} epochs {own:.4f} {verdict}"

    def _below_quantile(self, family: str, epoch: int, own: float) -> str | None:
        peers, quantile = self._so_far(family, epoch), self.settings.quantile
        if len(peers) < self.settings.min_peers:
            return None
        bar = float(np.quantile(peers, quantile))
        if own >= bar:
            return None
        return f"is below {bar:.4f}, the {quantile:.0%} quantile of {len(peers)} {family} trials"

    def _forecast(self, family: str, epoch: int, own: float, losses: Losses | None) -> str | None:
        row = seen(own, losses)
        peers, final = self._examples[family].at(epoch, len(row))
        if len(peers) < max(2, self.settings.min_peers) or not np.isfinite(row).all():
            return None
        rank = math.ceil(self.settings.top * self._n_finished)
        bar = self._finals[-min(rank, len(self._finals))]
        if own >= bar:
            return None
        found = chance(row, peers, final, bar)
        if found >= self.settings.chance:
            return None
        return (
            f"has a chance of {found:.1%} to reach {bar:.4f}, number {rank} of {self._n_finished} "
            f"trials, as {len(peers)} {family} trials went on"
        )

    def _so_far(self, family: str, epoch: int) -> Values:
        """Each peer's best value up to `epoch`; pruned peers count as far as they came."""
        curves = self._curves[family]
        # past the longest curve every complete peer has its final best
        column = curves[:, min(epoch, curves.shape[1]) - 1]
        if epoch > curves.shape[1]:
            column = column[self._complete[family]]
        return column[~np.isnan(column)]

    def _read(self, study: optuna.Study) -> None:
        """Add the curves of trials that finished since the last look; finished trials stay as they are."""
        new = [peer for peer in self.peers.new(study) if peer.values]
        self._n_finished += len(new)
        self._finals += [max(peer.values.values()) for peer in new if peer.complete]
        self._finals.sort()
        for family in {peer.family for peer in new}:
            self._add(family, [peer for peer in new if peer.family == family])

    def _add(self, family: str, peers: list[Peer]) -> None:
        old = self._curves.get(family, np.empty((0, 0)))
        longest = max([old.shape[1], *(max(peer.values) for peer in peers)])
        curves = np.full((len(old) + len(peers), longest), np.nan)
        if old.size:
            complete = self._complete[family]
            curves[: len(old), : old.shape[1]] = old
            curves[: len(old), old.shape[1] :][complete] = old[complete, -1:]
        for row, peer in zip(curves[len(old) :], peers, strict=True):
            _fill(row, peer)
        self._curves[family] = curves
        found = [peer.complete for peer in peers]
        self._complete[family] = np.append(self._complete.get(family, []), found).astype(bool)
        length = self.epochs_of(family)
        self._examples[family].add(
            [peer for peer in peers if peer.complete and max(peer.values) <= length]
        )


def _fill(row: Values, peer: Peer) -> None:
    """Best value so far by epoch; carried forward for a complete trial, NaN after a pruned one's end."""
    for epoch, value in peer.values.items():
        if epoch >= 1:
            row[epoch - 1] = value
    last = len(row) if peer.complete else max(peer.values)
    row[:last] = np.fmax.accumulate(row[:last])
