"""The family rule: prune a trial that is below a quantile of its peers at the same epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...studies.sections import Pruner
from .peers import Losses, Peer

Values = NDArray[np.float64]


class Quantile:
    """Compares best values so far within a family. Pruned trials count up to their end."""

    def __init__(self, settings: Pruner) -> None:
        self.settings = settings
        # by family: best value so far (trials, epochs), and which of these trials are complete
        self._curves: dict[str, Values] = {}
        self._complete: dict[str, NDArray[np.bool_]] = {}

    def learn(self, peers: Sequence[Peer]) -> None:
        for family in {peer.family for peer in peers}:
            self._add(family, [peer for peer in peers if peer.family == family])

    def verdict(self, family: str, epoch: int, own: float, losses: Losses | None) -> str | None:
        peers, quantile = self._so_far(family, epoch), self.settings.quantile
        if len(peers) < self.settings.min_peers:
            return None
        bar = float(np.quantile(peers, quantile))
        if own >= bar:
            return None
        return f"below {bar:.4f}, the {quantile:.0%} quantile of {len(peers)} {family} trials"

    def _so_far(self, family: str, epoch: int) -> Values:
        if family not in self._curves:
            return np.empty(0)
        curves = self._curves[family]
        # after the longest curve each complete peer counts with its final best
        column = curves[:, min(epoch, curves.shape[1]) - 1]
        if epoch > curves.shape[1]:
            column = column[self._complete[family]]
        return column[~np.isnan(column)]

    def _add(self, family: str, peers: Sequence[Peer]) -> None:
        old = self._curves.get(family, np.empty((0, 0)))
        longest = max([old.shape[1], *(max(peer.values) for peer in peers)])
        curves = np.full((len(old) + len(peers), longest), np.nan)
        if old.size:
            complete = self._complete[family]
            curves[: len(old), : old.shape[1]] = old
            curves[: len(old), old.shape[1] :][complete] = old[complete, -1:]
        for row, peer in zip(curves[len(old) :], peers, strict=True):
            last = longest if peer.complete else max(peer.values)
            row[:last] = peer.best_so_far(last)
        self._curves[family] = curves
        flags = [*self._complete.get(family, ()), *(peer.complete for peer in peers)]
        self._complete[family] = np.array(flags, dtype=bool)
