"""How fast trials train and how long the rest of a study will take, measured while watching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

N_RECENT = 50
"""Finished trials whose mean time the estimate uses: what a search tries changes as it learns."""


@dataclass(slots=True)
class _Run:
    n_first: int
    """Epochs at the first look that counts."""
    first_at: float
    n_last: int
    last_at: float
    """When the last epoch was noticed."""
    from_start: bool = True
    """Whether `first_at` is the trial's first look. It is earlier than its first batch."""


class Pace:
    """Seconds per epoch of running trials, from the times at which their reports were noticed."""

    def __init__(self) -> None:
        self._runs: dict[tuple[int, str], _Run] = {}

    def note(self, epochs: dict[tuple[int, str], int], now: float) -> None:
        """Note the number of epochs of each running trial. A key is a trial's id and its worker's."""
        self._runs = {key: run for key, run in self._runs.items() if key in epochs}
        for key, n in epochs.items():
            run = self._runs.get(key)
            if run is None or n < run.n_last:
                self._runs[key] = _Run(n, now, n, now)
            elif n > run.n_last:
                if run.from_start and run.n_last > run.n_first:
                    # the first interval held the preparations; from now on whole epochs count
                    run.n_first, run.first_at, run.from_start = run.n_last, run.last_at, False
                run.n_last, run.last_at = n, now

    def seconds_per_epoch(self, key: tuple[int, str]) -> float | None:
        """Return the mean time of an epoch, None before one was seen from its beginning to its end."""
        run = self._runs.get(key)
        if run is None or run.n_last <= run.n_first or run.last_at <= run.first_at:
            return None
        return (run.last_at - run.first_at) / (run.n_last - run.n_first)


@dataclass(frozen=True, slots=True)
class Remaining:
    """A running trial, as far as the estimate needs it."""

    n_done: int
    n_planned: int | None
    seconds_per_epoch: float | None


def seconds_left(
    n_left: int, running: Sequence[Remaining], mean_seconds: float | None, n_workers: int
) -> float | None:
    """Estimate the seconds until `n_left` more trials have finished, those running among them.

    `mean_seconds` is the mean time of recent trials. Return None without one, or without a worker.
    """
    if not n_left:
        return 0.0
    if mean_seconds is None or not n_workers:
        return None
    rest = [_rest(trial, mean_seconds) for trial in running[:n_left]]
    work = sum(rest) + (n_left - len(rest)) * mean_seconds
    return max([work / min(n_workers, n_left), *rest])


def _rest(trial: Remaining, mean_seconds: float) -> float:
    if not trial.n_planned:
        return mean_seconds
    n_left = max(0, trial.n_planned - trial.n_done)
    if trial.seconds_per_epoch is not None:
        return n_left * trial.seconds_per_epoch
    return mean_seconds * n_left / trial.n_planned
