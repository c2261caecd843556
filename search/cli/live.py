"""A view that is drawn in place on a terminal while workers train, and is gone when they end."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

from rich.console import Console, ConsoleRenderable
from rich.live import Live

from ..watch.snapshot import Snapshot
from .view import StudyView

IDLE_S = 5.0
"""Seconds after which the view is drawn again although nothing but the clock has changed."""


class LiveView:
    """Draws snapshots in place. Nothing of it is left after `stop`.

    Lines that are printed on the same console meanwhile appear above it.
    """

    def __init__(self, console: Console, *, clock: bool = True) -> None:
        """Prepare a view. With `clock` it shows how long it has been there."""
        self.clock = clock
        self.last = ""
        """The trial that finished last, as one line."""
        self._started_at = time.monotonic()
        self._drawn_at = -IDLE_S
        self._drawn: tuple[object, ...] = ()
        self._live = _Live(console)
        self._live.start()
        # a process that is killed must not leave a terminal without a cursor
        console.show_cursor(True)

    def show(self, snapshot: Snapshot) -> None:
        """Draw a snapshot, unless only times have changed since it was drawn last."""
        now = time.monotonic()
        state = _without_times(snapshot), self.last, self._live.console.size
        if state == self._drawn and now - self._drawn_at < IDLE_S:
            return
        self._drawn, self._drawn_at = state, now
        elapsed_s = now - self._started_at if self.clock else None
        view = StudyView(snapshot, elapsed_s=elapsed_s, last=self.last, in_place=True)
        self._live.update(view, refresh=True)

    def stop(self) -> None:
        """Remove the view."""
        self._live.stop()


class _Live(Live):
    """Rich's live display, which also removes lines that a narrower terminal has wrapped.

    Rich moves the cursor up by the lines that it printed. A terminal that got narrower may show more
    (https://github.com/Textualize/rich/issues/2459).
    """

    def __init__(self, console: Console) -> None:
        super().__init__(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )
        self._width = console.size.width
        self._lengths: list[int] = []

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        render, width = self._live_render, self.console.size.width
        if render._shape is not None and width < self._width:
            n_rows = sum(max(1, math.ceil(length / width)) for length in self._lengths)
            render._shape = width, min(max(n_rows, render._shape[1]), self.console.size.height)
        self._width = width
        view = self.get_renderable()
        if isinstance(view, StudyView):
            self._lengths = [line.cell_len for line in view.lines(self.console)]
        return super().process_renderables(renderables)


def _without_times(snapshot: Snapshot) -> tuple[object, ...]:
    """Return what a picture shows of a snapshot, without what changes at each look."""
    workers: Sequence[object] = [replace(row, beat_age_s=0.0) for row in snapshot.workers]
    counts = (snapshot.complete, snapshot.pruned, snapshot.failed, snapshot.n_trials)
    return (
        *counts,
        snapshot.best,
        snapshot.mean,
        tuple(workers),
        snapshot.happenings,
        snapshot.silent_s,
    )
