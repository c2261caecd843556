"""The forecast rule: how likely a training is to end above a bar, judged from finished trainings.

A Bayesian linear regression predicts the final value from the best value so far and from the epoch's training
and validation losses. All are logarithms (for a value: of the error, 1 - macro-F1), because errors shrink by
factors. While the learning rate is high, the validation macro-F1 of an epoch is noisy, and the losses
predict more (`python -m benchmarks landscape`). With the conjugate prior the prediction is a Student's t
distribution, which is wide while peers are few.

To prune what is unlikely to end among the best is the rule of Baker et al., "Accelerating Neural Architecture
Search using Performance Prediction" (arXiv 1705.10823). Pruned trainings are not examples.

The model's own chance is too low for CNNs, whose slow starters recover late, and too high for MLPs. It
decides, as a score. What a CNN's trial states is a corrected chance, fitted to recorded curves and checked on
held-out halves of them (`python -m benchmarks calibration`).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...studies.sections import Pruner
from .peers import Losses, Peer

Values = NDArray[np.float64]

LEAST = 1e-4
"""Lower bound of errors and losses, so that their logarithm is finite."""
PRIOR_SD, PRIOR_WEIGHT = 0.2, 2
"""Prior standard deviation of the final log error, and its weight in peers. Without it three peers that
happen to be on a line would give a forecast without error."""
CALIBRATION = {"cnn": (-0.28, 0.67, -0.09)}
"""By family: the constant of the corrected log-odds, the factor of the model's log-odds, and that of the
training's progress. Other families state the model's own chance. An MLP's is too high, but too few recorded
MLPs reached the bar to say by how much."""
SHRINKAGE = 1.0
"""Precision of the coefficients' prior, in peers. It keeps few peers from extrapolating far."""


def seen(best: float, losses: Losses | None) -> Values:
    """Return the features of a training at an epoch, shape (3,), or (1,) without `losses`.

    `best` is the best validation macro-F1 so far. `losses` are the epoch's training and validation loss.
    """
    return np.log(np.maximum([1 - best, *(losses or ())], LEAST))


class Examples:
    """Training data for the forecast: features per finished trial and epoch, and the final values."""

    def __init__(self) -> None:
        self._rows = np.empty((0, 0, 3))
        """Features, shape (n, epochs, 3). Past a training's end they repeat its last; NaN if unknown."""
        self._final = np.empty(0)

    def add(self, peers: Sequence[Peer]) -> None:
        """Add complete trials."""
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
        """Return features (n, n_columns) and final values (n,) of the trials that have both at an epoch."""
        if not self._rows.size:
            return np.empty((0, n_columns)), np.empty(0)
        rows = self._rows[:, min(epoch, self._rows.shape[1]) - 1, :n_columns]
        complete = np.isfinite(rows).all(axis=1)
        return rows[complete], self._final[complete]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the model says of a training after an epoch."""

    raw: float
    """The model's own chance that it ends at `bar` or above."""
    bar: float
    rank: int
    """The bar's, among all finished trials."""
    n_peers: int


class Forecast:
    """The rule that prunes a trial which is unlikely to end among the best of all families."""

    def __init__(self, settings: Pruner, epochs_of: Callable[[str], int]) -> None:
        self.settings = settings
        self.epochs_of = epochs_of
        self._examples: defaultdict[str, Examples] = defaultdict(Examples)
        """Complete trials by family. No rule counts trials longer than the family's schedule."""
        self._finals: list[float] = []
        """Final values of the complete trials of all families, in rising order."""
        self._n_finished = 0

    def learn(self, peers: Sequence[Peer]) -> None:
        # a baseline with a longer schedule of its own sets a bar that no other training can reach
        peers = [
            peer for peer in peers if max(peer.values, default=0) <= self.epochs_of(peer.family)
        ]
        self._n_finished += len(peers)
        complete = [peer for peer in peers if peer.complete]
        self._finals = sorted(self._finals + [max(peer.values.values()) for peer in complete])
        for family in {peer.family for peer in complete}:
            self._examples[family].add([peer for peer in complete if peer.family == family])

    def verdict(self, family: str, epoch: int, own: float, losses: Losses | None) -> str | None:
        judged = self.judge(family, epoch, own, losses)
        if judged is None or judged.raw >= self.settings.chance:
            return None
        stated, length = judged.raw, self.epochs_of(family)
        if family in CALIBRATION:
            stated = calibrated(judged.raw, min(1.0, epoch / length), CALIBRATION[family])
        return (
            f"{stated:.1%} chance of reaching {judged.bar:.4f} (rank {judged.rank} of "
            f"{self._n_finished}), judged from {judged.n_peers} {family} trials"
        )

    def judge(self, family: str, epoch: int, own: float, losses: Losses | None) -> Judgement | None:
        """Return the model's chance that a training ends among the best; None if nothing can be said."""
        row = seen(own, losses)
        peers, final = self._examples[family].at(epoch, len(row))
        if len(peers) < max(2, self.settings.min_peers) or not np.isfinite(row).all():
            return None
        # 0.07 * 100 is slightly above 7
        rank = math.ceil(self.settings.top * self._n_finished - 1e-9)
        bar = self._finals[-min(rank, len(self._finals))]
        if own >= bar:
            return None
        return Judgement(chance(row, peers, final, bar), bar, rank, len(peers))


def log_odds(probability: float) -> float:
    """Return the log-odds of a chance, kept 0.001 away from 0 and 1: the tails are the least sure."""
    inside = min(max(probability, 1e-3), 1 - 1e-3)
    return math.log(inside / (1 - inside))


def calibrated(raw: float, progress: float, constants: tuple[float, float, float]) -> float:
    """Return the chance that trainings with the model's chance `raw` had on recorded curves.

    `progress` is the share of the schedule that was trained.
    """
    constant, slope, of_progress = constants
    return 1 / (1 + math.exp(-(constant + slope * log_odds(raw) + of_progress * progress)))


def chance(own: Values, peers: Values, final: Values, bar: float) -> float:
    """Return the probability that a training ends at `bar` or above.

    Args:
        own: the training's features, shape (p,).
        peers: features of n >= 2 finished trainings at the same epoch, shape (n, p).
        final: their final values, shape (n,).
        bar: the validation macro-F1 to reach.
    """
    from scipy.special import stdtr  # commands that only read a study do not import scipy

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
    # the error must shrink below that of the bar
    away = np.log(max(1 - bar, LEAST)) - errors.mean() - row @ slopes
    return float(stdtr(freedom, away / spread))
