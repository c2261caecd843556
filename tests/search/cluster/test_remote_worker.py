"""Killing workers of a cluster, without a cluster."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from tests_support import supervisor

from bloodsearch.search.workers.launch import End
from bloodsearch.search.workers.leases import Leases
from bloodsearch.search.workers.supervisor import Supervisor, _Child

remote_worker: Any = pytest.importorskip(
    "bloodsearch.search.cluster.remote_worker", reason="needs Ray: pip install -e '.[dev]'"
)

N_WORKERS = 4


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float]]:
    """The signals that were sent, and when, in a cluster that answers nothing."""
    monkeypatch.setattr(remote_worker.ray, "wait", lambda pending, timeout: ([], pending))
    monkeypatch.setattr(remote_worker.ray, "kill", lambda actor: None)
    return []


def running(name: str, signals: list[tuple[int, float]]) -> Any:
    worker = remote_worker.RemoteWorker(
        name, launcher=None, data_root=None, program=[], arguments=[], environment={}
    )

    def send(number: int) -> None:
        signals.append((number, time.monotonic()))

    worker._actor = SimpleNamespace(signal=SimpleNamespace(remote=send))
    worker._runs = True
    return worker


def drain(draining: Supervisor) -> None:
    draining._signals = 2
    draining._drain()


@pytest.mark.parametrize("end", [drain, Supervisor._kill_children])
def test_all_workers_are_killed_before_one_is_waited_for(
    leases: Leases, signals: list[tuple[int, float]], end: Callable[[Supervisor], None]
) -> None:
    draining = supervisor(leases.storage, leases.study, 1, 1)
    workers = [running(str(n), signals) for n in range(N_WORKERS)]
    draining._children = [_Child(draining.slots[0], worker) for worker in workers]
    end(draining)
    ended = time.monotonic()
    killed = [sent for number, sent in signals if number == signal.SIGKILL]
    assert len(killed) == N_WORKERS
    assert killed[-1] - killed[0] < remote_worker.KILL_S / 2
    assert 0.3 < ended - killed[0] < 2 * remote_worker.KILL_S


def test_a_killed_worker_that_says_nothing_has_ended(
    signals: list[tuple[int, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = running("it", signals)
    worker.kill()
    assert worker.poll() is None
    monkeypatch.setattr(remote_worker, "KILL_S", 0.0)
    assert worker.poll() == End.of(-signal.SIGKILL)
