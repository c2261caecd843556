"""What a person sees while workers work: one line per finished trial, a bar on a terminal."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

import rich.progress

from . import output

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

POLL_EVERY = 4
"""Ticks of the supervisor between two looks at the storage."""


class Progress:
    """Follows a study through its storage; `update` is cheap and called often."""

    def __init__(
        self, study: optuna.Study, n_trials: int, *, quiet: bool, noun: str = "trial"
    ) -> None:
        self.study, self.n_trials, self.quiet, self.noun = study, n_trials, quiet, noun
        self.seen: set[int] = {t.number for t in self._finished()}
        self.best = max((t.value or 0.0 for t in self._finished(complete=True)), default=None)
        self.ticks = 0
        self.bar: rich.progress.Progress | None = None
        if not quiet and output.stderr.is_terminal:
            self.bar = rich.progress.Progress(
                rich.progress.TextColumn("{task.completed}/{task.total} " + noun + "s"),
                rich.progress.BarColumn(),
                rich.progress.TimeElapsedColumn(),
                rich.progress.TextColumn("left"),
                rich.progress.TimeRemainingColumn(elapsed_when_finished=False),
                rich.progress.TextColumn("{task.description}"),
                console=output.stderr,
            )
            self.task = self.bar.add_task("", total=n_trials, completed=self._n_counted())

    def __enter__(self) -> Self:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
        if error is None:
            self.poll()

    def update(self) -> None:
        self.ticks += 1
        if self.ticks % POLL_EVERY == 0:
            self.poll()

    def poll(self) -> None:
        """Print the trials that finished since the last look."""
        from ..database.outage import is_outage

        if self.quiet:
            return
        try:
            new = [trial for trial in self._finished() if trial.number not in self.seen]
            n_counted = self._n_counted()
        except Exception as error:
            if is_outage(error):
                return  # the workers wait for the storage; the next look may find it
            raise
        for trial in sorted(new, key=lambda t: t.datetime_complete or t.datetime_start):  # type: ignore[arg-type,return-value]
            self.seen.add(trial.number)
            output.stderr.print(self._describe(trial), markup=False)
        if self.bar is not None:
            best = "" if self.best is None else f"best {self.best:.4f}"
            self.bar.update(self.task, completed=n_counted, description=best)

    def _finished(self, *, complete: bool = False) -> list[FrozenTrial]:
        from optuna.trial import TrialState

        states = (
            (TrialState.COMPLETE,) if complete else tuple(s for s in TrialState if s.is_finished())
        )
        return self.study.get_trials(deepcopy=False, states=states)

    def _n_counted(self) -> int:
        return sum(trial.state.name != "FAIL" for trial in self._finished())

    def _describe(self, trial: FrozenTrial) -> str:
        from ..evaluation.leaderboard import standing

        found = standing(trial)
        mark = ""
        if found.state == "complete" and (self.best is None or (found.value or 0) > self.best):
            self.best, mark = found.value, "  best so far"
        value = "   -  " if found.value is None else f"{found.value:.4f}"
        who = f" {found.baseline}" if found.baseline else ""
        why = "" if found.state == "complete" else f"  {found.stop_reason}"
        return (
            f"{self.noun} {found.number:>4}{who}  {found.family:<3}  {found.state:<8}  {value}  "
            f"{found.epochs:>3} epochs  {found.seconds:6.1f} s{mark}{why}"
        )
