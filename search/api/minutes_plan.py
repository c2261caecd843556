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


def n_trials_in(file: StudyFile, seconds: float, trial_s: float) -> int:
    """Return how many trials `seconds` of one worker are enough for."""
    n_pruned = math.floor(seconds / (PRUNED_SHARE * trial_s))
    is_pruned = pruned_share(file, n_pruned) == PRUNED_SHARE
    return min(MAX_TRIALS, n_pruned if is_pruned else math.floor(seconds / trial_s))


def tail_s(longest_s: float, n_workers: int) -> float:
    """Return how long a search may last beyond its equal share of the work for each worker.

    Its last trial may be its longest and run alone (Graham 1969).
    """
    return (1 - 1 / n_workers) * longest_s
