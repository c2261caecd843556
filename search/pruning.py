"""When a trial is stopped, and why.

Peers are finished trials of the same family: a fast family must not end a slow starter of the
other. Each is judged by its best epoch so far, carried forward past its own end, because single
epochs of a BatchNorm network jump by 0.1-0.2 and because a trial that patience ended early is still a
peer. Nothing is decided in the first epochs: on BloodMNIST the order after epoch 1 has a rank
correlation near zero with the order at the end.
"""

from __future__ import annotations

import math
import time

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from search.peers import Peer, Peers, StudyPeers
from studies.schema import Pruner

Values = NDArray[np.float64]

REREAD_S = 2.0
"""Within a trial, how old the list of peers may be: reading it costs milliseconds per epoch."""


class FamilyPruner(optuna.pruners.BasePruner):
    """Prunes a trial below a quantile of its peers; `reason` tells why in words."""

    def __init__(self, settings: Pruner, peers: Peers | None = None) -> None:
        """`peers` tells which trials have finished; without it the study's own storage is asked."""
        self.settings = settings
        self.peers = peers or StudyPeers()
        # by family: best value so far (trials, epochs), and which of these trials are complete
        self._curves: dict[str, Values] = {}
        self._complete: dict[str, NDArray[np.bool_]] = {}
        self._read_at = -math.inf

    def new_trial(self) -> None:
        """Look at the storage afresh at the next decision: other trials may have finished."""
        self._read_at = -math.inf

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        """Optuna's interface; the trial's family is its user attribute `family`."""
        return self.reason(study, trial) is not None

    def reason(self, study: optuna.Study, trial: FrozenTrial) -> str | None:
        """Why `trial` should stop now, or None if it should go on."""
        self.new_trial()
        family = str(trial.user_attrs.get("family"))
        return self.reason_for(study, family, trial.intermediate_values)

    def reason_for(self, study: optuna.Study, family: str, values: dict[int, float]) -> str | None:
        """As `reason`, for a trial whose reports (epoch -> value) are known here already."""
        settings, epoch = self.settings, max(values, default=0)
        if settings.name == "none" or epoch < settings.warmup_of(family):
            return None
        peers = self._peer_values(study, family, epoch)
        if len(peers) < settings.min_peers:
            return None
        own = max(values.values())
        bar = float(np.quantile(peers, settings.quantile))
        if own >= bar:
            return None
        return (
            f"best of {epoch} epochs {own:.4f} is below {bar:.4f}, the "
            f"{settings.quantile:.0%} quantile of {len(peers)} {family} trials"
        )

    def _peer_values(self, study: optuna.Study, family: str, epoch: int) -> Values:
        """Each peer's best value up to `epoch`; pruned peers count as far as they came."""
        if time.monotonic() - self._read_at > REREAD_S:
            self._read(study)
            self._read_at = time.monotonic()
        curves = self._curves.get(family)
        if curves is None:
            return np.empty(0)
        # past the longest curve every complete peer has its final best
        column = curves[:, min(epoch, curves.shape[1]) - 1]
        if epoch > curves.shape[1]:
            column = column[self._complete[family]]
        return column[~np.isnan(column)]

    def _read(self, study: optuna.Study) -> None:
        """Add the curves of trials that finished since the last look; finished trials stay as they are."""
        new = [peer for peer in self.peers.new(study) if peer.values]
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


def _fill(row: Values, peer: Peer) -> None:
    """Best value so far by epoch; carried forward for a complete trial, NaN after a pruned one's end."""
    for epoch, value in peer.values.items():
        if epoch >= 1:
            row[epoch - 1] = value
    last = len(row) if peer.complete else max(peer.values)
    row[:last] = np.fmax.accumulate(row[:last])
