"""Workers without processes: a test's trainings run in its own process, which has torch loaded already.

A process of its own takes three seconds of a core before its first batch. `tests/chaos` and
`tests/cli/test_end_to_end.py` train with real workers.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from bloodsearch.search.api import training
from bloodsearch.search.data import synthetic
from bloodsearch.search.workers.leases import Leases
from bloodsearch.search.workers.shutdown import Drain
from bloodsearch.search.workers.slots import Slot
from bloodsearch.search.workers.worker import WorkerSettings, run_worker


class WorkerHere:
    """Takes the place of `Supervisor`: one worker for all slots."""

    def __init__(
        self,
        leases: Leases,
        slots: Sequence[Slot],
        n_trials: int | None = None,
        *,
        data_root: Path | None = None,
        on_tick: Callable[[], None] = lambda: None,
        **_: object,
    ) -> None:
        slot = slots[0]
        self.on_tick = on_tick
        self.settings = WorkerSettings(
            leases.storage.full_url,
            leases.study.study_name,
            slot.device,
            slot.label,
            slot.threads,
            data_root,
            n_trials,
            worker_id="here",
        )

    def run(self) -> bool:
        """Train until the budget is spent."""
        run_worker(self.settings, Drain())
        self.on_tick()
        return True


@contextlib.contextmanager
def worker_here() -> Iterator[None]:
    """Let commands and calls train in this process."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(training, "Supervisor", WorkerHere)
        # each command draws the synthetic set again, which takes seconds
        monkeypatch.setattr(synthetic, "make_split", functools.cache(synthetic.make_split))
        yield
