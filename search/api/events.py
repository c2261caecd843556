"""Events of a run: `on_progress` receives one object per event, and its text is one line for people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..watch.snapshot import Snapshot

if TYPE_CHECKING:
    from ..evaluation.leaderboard import Standing
    from .results import SearchResult


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth knowing, such as the storage in use."""

    text: str
    warning: bool = False
    """Whether it is shown even where progress is not, such as the death of a worker."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class _Run:
    study: str
    noun: str
    """The name of one training: "trial", "finalist", "replicate" or "refit"."""
    n_done: int
    n_trials: int

    def __str__(self) -> str:
        return f"{self.study}: {self.n_done} of {self.n_trials} {self.noun}s finished"


@dataclass(frozen=True, slots=True)
class RunStarted(_Run):
    """Workers start on a study."""


@dataclass(frozen=True, slots=True)
class TrialEnded:
    """A trial has finished, in this process or in another one."""

    trial: Standing
    noun: str
    n_done: int
    n_trials: int
    best_value: float | None
    """The best validation macro-F1 of complete trials so far; None unless the study is a search."""
    is_best: bool

    mean_value: float | None = None
    """The mean of the complete replicates of this trial's configuration; None for other trainings."""
    n_complete: int = 0
    """The number of these replicates."""

    def __str__(self) -> str:
        row = self.trial
        number = row.number if row.replicate_of is None else row.replicate_of
        of = "" if row.replicate_of is None else " of trial"
        name = f" {row.baseline}" if row.baseline else ""
        head = f"{self.noun}{of} {number:>4}{name}  {row.family:<3}  "
        if row.state != "complete" or row.value is None:
            return head + row.short_end
        mark = "  best so far" if self.is_best else ""
        if self.mean_value is not None:
            mark = f"  mean so far {self.mean_value:.4f} (n = {self.n_complete})"
        epochs = "epoch " if row.epochs == 1 else "epochs"
        return f"{head}{row.value:.4f}  {row.epochs:>3} {epochs}  {row.seconds:6.1f} s{mark}"


@dataclass(frozen=True, slots=True)
class RunEnded(_Run):
    """No worker of this process trains any more."""


@dataclass(frozen=True, slots=True)
class SearchEnded:
    """A search has ended: with its budget spent, out of time, or interrupted."""

    result: SearchResult

    def __str__(self) -> str:
        result = self.result
        best = (
            ""
            if result.best_value is None
            else f", best validation macro-F1 {result.best_value:.4f}"
        )
        return (
            f"{result.study}: {result.complete} complete, {result.pruned} pruned, "
            f"{result.failed} failed{best}"
        )


@dataclass(frozen=True, slots=True)
class RaceEnded:
    """The second stage has chosen a winner among the finalists."""

    race: dict[str, object]

    def __str__(self) -> str:
        return f"the second stage chose trial {self.race['winner']}"


Event = Notice | RunStarted | TrialEnded | RunEnded | SearchEnded | RaceEnded | Snapshot
OnProgress = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Ignore an event: the default of every `on_progress`."""
