"""Show a run while it is running: one line per finished trial, and a bar on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich.progress

from ..api.events import Notice, RaceEnded, RunEnded, RunStarted, SearchEnded, TrialEnded
from . import output

if TYPE_CHECKING:
    from ..api.events import Event


class Screen:
    """Shows events on standard error; with `quiet`, warnings only."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self._bar: rich.progress.Progress | None = None
        self._task = rich.progress.TaskID(0)

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, Notice):
            if event.warning or not self.quiet:
                output.message(event.text)
            return
        if self.quiet:
            return
        match event:
            case RunStarted():
                self._start_bar(event)
            case TrialEnded():
                output.progress(str(event))
                self._update(event)
            case RunEnded():
                self._stop_bar()
            case RaceEnded(race):
                from .final_tables import show_race

                show_race(race)
            case SearchEnded():
                pass  # the command shows results

    def _start_bar(self, event: RunStarted) -> None:
        if not output.stderr.is_terminal:
            return
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.completed}/{task.total} " + event.noun + "s"),
            rich.progress.BarColumn(),
            rich.progress.TimeElapsedColumn(),
            rich.progress.TextColumn("left"),
            rich.progress.TimeRemainingColumn(elapsed_when_finished=False),
            rich.progress.TextColumn("{task.description}"),
            console=output.stderr,
            transient=True,  # Ctrl-C would leave half a bar
        )
        self._task = self._bar.add_task("", total=event.n_trials, completed=event.n_done)
        self._bar.start()

    def _update(self, event: TrialEnded) -> None:
        if self._bar is not None:
            best = "" if event.best_value is None else f"best {event.best_value:.4f}"
            self._bar.update(self._task, completed=event.n_done, description=best)

    def _stop_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
