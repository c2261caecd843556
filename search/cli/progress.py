"""Show a run while it is running: in place on a terminal, else one line per finished trial."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..api.events import Notice, RaceEnded, RunEnded, RunStarted, SearchEnded, TrialEnded
from ..watch.snapshot import Snapshot
from . import output

if TYPE_CHECKING:
    from ..api.events import Event
    from .live import LiveView


class Screen:
    """Shows events on standard error; with `quiet`, warnings only."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self.draws = not quiet and output.can_draw(output.stderr)
        """Whether it draws in place, for which it needs snapshots."""
        self._view: LiveView | None = None
        self._started_at = 0.0

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
                self._start()
            case Snapshot():
                if self._view is not None:
                    self._view.show(event)
            case TrialEnded():
                self._trial(event)
            case RunEnded():
                self._end(event)
            case RaceEnded(race):
                from .final_tables import show_race

                show_race(race)
            case SearchEnded():
                pass  # the command shows results

    def _start(self) -> None:
        self._started_at = time.monotonic()
        if self.draws:
            from .live import LiveView

            self._view = LiveView(output.stderr)

    def _trial(self, event: TrialEnded) -> None:
        if self._view is None:
            output.progress(str(event))
        else:
            self._view.last = str(event)

    def _end(self, event: RunEnded) -> None:
        if self._view is None:
            return
        self._view.stop()
        self._view = None
        if event.noun != "trial":  # a search's result follows
            seconds = time.monotonic() - self._started_at
            output.progress(
                f"{event.n_done} of {event.n_trials} {event.noun}s trained in {output.duration(seconds)}"
            )
