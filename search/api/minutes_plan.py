"""What `--minutes` plans, and what both ways to plan share: with a ladder, and for trials judged by folds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...studies import MAX_TRIALS, StudyFile
from ..training.config import TrialConfig
from .timing import PRUNED_SHARE, pruned_share

RESERVE = 0.05
"""Share of the time for starting and timing."""
MIN_TRIALS = 16

Seconds = Callable[[Sequence[TrialConfig]], list[float]]
"""Returns the seconds of an epoch of each configuration, with all workers busy."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is trained in the given time."""

    minutes: float
    n_workers: int
    file: StudyFile
    """The study, in plain numbers."""
    seconds: dict[str, float]
    """Measured seconds of an epoch of the models that were chosen, by name."""
    rungs: list[tuple[str, int, dict[str, int], float]]
    """Name, number of trainings, epochs by family, and expected minutes of each stage."""

    def lines(self) -> list[str]:
        """Return the plan as text: the speed measured here, then a line for each stage."""
        speeds = ", ".join(f"{seconds:.1f} s ({name})" for name, seconds in self.seconds.items())
        workers = "1 worker" if self.n_workers == 1 else f"{self.n_workers} workers"
        lines = [f"{self.minutes:g} minutes on {workers}; an epoch takes {speeds}"]
        for name, n, epochs, minutes in self.rungs:
            length = ", ".join(f"{n_epochs} ({family})" for family, n_epochs in epochs.items())
            lines.append(f"  {name}: {n} trainings of {length} epochs, about {minutes:.0f} min")
        return lines


def search_s(file: StudyFile, n_trials: int, trial_s: float, late_s: float | None = None) -> float:
    """Return the seconds of one worker that a search takes.

    A sampler that learns asks for what is best, which takes longest and which no pruner ends. Of 38 trials 16
    were random. The other 22 had the wider of two networks, and all of them were trained to the end.

    Args:
        file: the study.
        n_trials: number of trials.
        trial_s: seconds of a trial at random without pruning.
        late_s: seconds of a trial that the sampler has learnt to ask for; None: as at random, with pruning.
    """
    n_early = min(n_trials, _n_random(file, late_s))
    late = 0.0 if late_s is None else (n_trials - n_early) * late_s
    return n_early * trial_s * pruned_share(file, n_trials) + late


def n_trials_in(
    file: StudyFile, seconds: float, trial_s: float, late_s: float | None = None
) -> int:
    """Return how many trials `seconds` of one worker are enough for, at most; see `search_s`."""

    def most(share: float) -> int:
        n_early = _n_random(file, late_s)
        left_s = seconds - n_early * trial_s * share
        if late_s is None or left_s <= 0:
            return math.floor(seconds / (trial_s * share))
        return int(n_early) + math.floor(left_s / late_s)

    n_pruned = most(PRUNED_SHARE)
    is_pruned = pruned_share(file, n_pruned) == PRUNED_SHARE
    return min(MAX_TRIALS, n_pruned if is_pruned else most(1.0))


def _n_random(file: StudyFile, late_s: float | None) -> float:
    """Return how many trials are at random before the sampler asks for others."""
    learns = late_s is not None and file.search.sampler != "random"
    return file.search.startup_trials if learns else math.inf


def tail_s(longest_s: float, n_workers: int) -> float:
    """Return how long a search may last beyond its equal share of the work for each worker.

    Its last trial may be its longest and run alone (Graham 1969).
    """
    return (1 - 1 / n_workers) * longest_s
