"""How long a supervisor and its workers take to end."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import sqlalchemy as sa
from optuna.trial import TrialState
from tests_support import supervisor

from bloodsearch.search.database.tables import leases_table
from bloodsearch.search.workers.launch import End
from bloodsearch.search.workers.leases import Leases
from bloodsearch.search.workers.liveness import own_identity
from bloodsearch.search.workers.reclaim import MAX_DEATHS
from bloodsearch.search.workers.shutdown import Drain
from bloodsearch.search.workers.supervisor import DRAIN_S, PROMPT_S, _Child


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_worker_with_nothing_to_give_back_ends_at_once(number: signal.Signals) -> None:
    """It is loading libraries and data, and would look for a request only after that."""
    script = (
        "import time; from bloodsearch.search.workers.shutdown import Drain; Drain().on_signals();"
        "print('loading', flush=True); time.sleep(120)"
    )
    worker = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"loading\n"
    worker.send_signal(number)
    worker.communicate(timeout=30)
    assert worker.returncode == 130


def test_worker_at_work_is_asked() -> None:
    drain = Drain()
    drain.begin()
    assert not drain()
    drain.request()
    assert drain()


class Aborted(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize(
    ("numbers", "ended"),
    [
        ([signal.SIGTERM, signal.SIGTERM], False),
        ([signal.SIGINT, signal.SIGTERM], False),
        ([signal.SIGINT, signal.SIGINT], True),
    ],
)
@pytest.mark.parametrize("asked_before", [False, True])
def test_only_a_second_interrupt_ends_a_worker_that_drains(
    monkeypatch: pytest.MonkeyPatch,
    numbers: list[signal.Signals],
    ended: bool,
    asked_before: bool,
) -> None:
    """The supervisor's signal comes after a service manager's, or after a heartbeat that asks to stop."""
    handlers: dict[int, Callable[..., None]] = {}

    def abort(code: int) -> None:
        raise Aborted

    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    monkeypatch.setattr(os, "_exit", abort)
    drain = Drain()
    drain.on_signals()
    drain.begin()
    if asked_before:
        drain.request()
    first, second = numbers
    handlers[first](first, None)
    with pytest.raises(Aborted) if ended else contextlib.nullcontext():
        handlers[second](second, None)
    assert drain()


@dataclass
class Ended:
    """A worker, seen from its supervisor, that ended without putting its trial back."""

    worker_id: str
    place = "cpu"
    waits = False

    def poll(self) -> End | None:
        return End.of(130)

    def terminate(self) -> None: ...

    def kill(self) -> None: ...

    def close(self) -> None: ...


def test_end_of_a_worker_that_was_told_to_end_is_no_death(leases: Leases) -> None:
    gone = dataclasses.replace(own_identity("cpu"), worker_id="gone", pid=2**22 - 1)
    for _ in range(MAX_DEATHS):
        leases.claim(gone, 1, may_create=True)
        draining = supervisor(leases.storage, leases.study, 1, 1)
        draining._children = [_Child(draining.slots[0], Ended("gone"))]
        draining._drain()
        assert leases.counts()[TrialState.WAITING] == 1
    with leases.storage.engine.connect() as db:
        assert db.execute(sa.select(leases_table.c.deaths)).scalar() == 0


class Stuck(Ended):
    """A worker that the system does not end, because it waits for a disk."""

    def poll(self) -> End | None:
        return None


@pytest.mark.parametrize("n_signals", [0, 1, 2])
def test_a_worker_that_cannot_be_killed_is_left_behind(
    leases: Leases, monkeypatch: pytest.MonkeyPatch, n_signals: int
) -> None:
    for name in ("DRAIN_S", "PROMPT_S", "KILLED_S"):
        monkeypatch.setattr(f"bloodsearch.search.workers.supervisor.{name}", 0.05)
    draining = supervisor(leases.storage, leases.study, 1, 1)
    draining._children = [_Child(draining.slots[0], Stuck(name)) for name in "ab"]
    draining._signals = n_signals
    draining._signalled_at = time.monotonic()
    thread = threading.Thread(target=draining._drain, daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    ("n_signals", "seconds", "over"),
    [
        (0, DRAIN_S - 1, False),
        (0, DRAIN_S + 1, True),
        (1, PROMPT_S - 1, False),
        (1, PROMPT_S + 1, True),
        (2, 0, True),
    ],
)
def test_patience_with_workers_that_drain(
    leases: Leases, n_signals: int, seconds: float, over: bool
) -> None:
    draining = supervisor(leases.storage, leases.study, 1, 1)
    began = time.monotonic() - seconds
    draining._signals = n_signals
    draining._signalled_at = began if n_signals else 0.0
    assert draining._out_of_time(began) is over


def test_runs_in_a_thread_and_prints_nothing(
    leases: Leases, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIM_SECONDS", "0.01")
    messages: list[str] = []
    simulated = supervisor(leases.storage, leases.study, 2, 1, on_message=messages.append)
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(simulated.run()))
    thread.start()
    thread.join(60)
    assert results == [True]
    assert capsys.readouterr() == ("", "")


def test_a_library_call_has_no_watchdog(leases: Leases) -> None:
    """It would end the notebook's kernel where a command only ends itself."""
    before = signal.getsignal(signal.SIGINT)
    simulated = supervisor(leases.storage, leases.study, 1, 1, owns_process=False)
    n_threads = threading.active_count()
    with simulated._handling_signals():
        assert threading.active_count() == n_threads
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
