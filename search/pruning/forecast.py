"""How likely a training is to end above a bar, from what is seen of it now and from trainings that ended.

A Bayesian linear regression of the final value on the best value so far and on the epoch's training and
validation losses, all as logarithms (of the error, 1 - macro-F1, for a value): errors shrink by factors, and
their scatter is even on that scale. With a learning rate that is still high the validation macro-F1 of an
epoch is noisy; the losses tell more (`python -m benchmarks landscape`). The conjugate prior makes the
prediction Student's t, wide as long as peers are few.

The rule, to stop what is unlikely to end among the best, is that of Baker et al., "Accelerating Neural
Architecture Search using Performance Prediction" (arXiv 1705.10823). Trainings that were stopped are no
examples, and the others went on better than they: a chance is stated too high rather than too low. Those that
are exempt from pruning are in it, and the early trials, before there was anything to compare with.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ...studies.schema import Pruner
from .peers import Losses, Peer

Values = NDArray[np.float64]

LEAST = 1e-4
"""Errors and losses below count as this much."""
PRIOR_SD, PRIOR_WEIGHT = 0.2, 2
"""Scatter of the final log error before any peer was seen, and the number of peers that this is worth: three
peers that happen to lie on a line must not promise a forecast without error."""
SHRINKAGE = 1.0
"""Precision of the coefficients' prior, in peers: few of them must not extrapolate wildly."""


def seen(best: float, losses: Losses | None) -> Values:
    """A row of what is known of a training at an epoch, shape (3,), without `losses` (1,).

    `best` is its best validation macro-F1 so far, `losses` the epoch's training and validation loss.
    """
    return np.log(np.maximum([1 - best, *(losses or ())], LEAST))


class Examples:
    """Trainings of one family that ended: what was seen of each at every epoch, and where it came to."""

    def __init__(self) -> None:
        self._rows = np.empty((0, 0, 3))
        """Shape (n, epochs, 3), past a training's end as at its end; NaN where unknown."""
        self._final = np.empty(0)

    def add(self, peers: Sequence[Peer]) -> None:
        """Learn of complete trials."""
        if not peers:
            return
        old = self._rows
        longest = max([old.shape[1], *(max(peer.values) for peer in peers)])
        self._rows = np.full((len(old) + len(peers), longest, 3), np.nan)
        if old.size:
            self._rows[: len(old), : old.shape[1]] = old
            self._rows[: len(old), old.shape[1] :] = old[:, -1:]
        for rows, peer in zip(self._rows[len(old) :], peers, strict=True):
            for epoch, best in enumerate(peer.best_so_far(longest), start=1):
                row = seen(best, peer.losses_at(epoch))
                rows[epoch - 1, : len(row)] = row
        finals = [max(peer.values.values()) for peer in peers]
        self._final = np.append(self._final, finals)

    def at(self, epoch: int, n_columns: int) -> tuple[Values, Values]:
        """Rows at an epoch, cut to `n_columns`, and final values, of those of which both are known."""
        if not self._rows.size:
            return np.empty((0, n_columns)), np.empty(0)
        rows = self._rows[:, min(epoch, self._rows.shape[1]) - 1, :n_columns]
        known = np.isfinite(rows).all(axis=1)
        return rows[known], self._final[known]


class Forecast:
    """The rule: stop what is unlikely to end among the best of all families."""

    def __init__(self, settings: Pruner, epochs_of: Callable[[str], int]) -> None:
        self.settings = settings
        self.epochs_of = epochs_of
        self._examples: defaultdict[str, Examples] = defaultdict(Examples)
        """By family, complete trials not longer than its schedule."""
        self._finals: list[float] = []
        """Of complete trials of all families, in rising order."""
        self._n_finished = 0

    def learn(self, peers: Sequence[Peer]) -> None:
        self._n_finished += len(peers)
        complete = [peer for peer in peers if peer.complete]
        self._finals = sorted(self._finals + [max(peer.values.values()) for peer in complete])
        for family in {peer.family for peer in complete}:
            length = self.epochs_of(family)
            self._examples[family].add(
                [peer for peer in complete if peer.family == family and max(peer.values) <= length]
            )

    def verdict(self, family: str, epoch: int, own: float, losses: Losses | None) -> str | None:
        row = seen(own, losses)
        peers, final = self._examples[family].at(epoch, len(row))
        if len(peers) < max(2, self.settings.min_peers) or not np.isfinite(row).all():
            return None
        rank = math.ceil(self.settings.top * self._n_finished - 1e-9)  # .07 * 100 is not quite 7
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


def chance(own: Values, peers: Values, final: Values, bar: float) -> float:
    """Probability that a training ends at `bar` or above.

    `own` is its row, shape (p,); `peers`, shape (n, p), are the rows of others at the same epoch and `final`,
    shape (n,), their values in the end; n >= 2.
    """
    from scipy.special import stdtr  # here, because whoever only reads a study needs no scipy

    errors = np.log(np.maximum(1 - final, LEAST))
    scale = peers.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    rows, row = (peers - peers.mean(axis=0)) / scale, (own - peers.mean(axis=0)) / scale
    n, p = rows.shape
    inverse = np.linalg.inv(rows.T @ rows + SHRINKAGE * np.eye(p))
    slopes = inverse @ rows.T @ (errors - errors.mean())
    residuals = errors - errors.mean() - rows @ slopes
    freedom = n - 1 + PRIOR_WEIGHT
    squares = residuals @ residuals + SHRINKAGE * slopes @ slopes + PRIOR_WEIGHT * PRIOR_SD**2
    spread = np.sqrt(squares / freedom * (1 + 1 / n + row @ inverse @ row))
    # a smaller error is a better end
    away = np.log(max(1 - bar, LEAST)) - errors.mean() - row @ slopes
    return float(stdtr(freedom, away / spread))
