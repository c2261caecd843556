"""How long a supervisor and its workers take to end."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest
from tests_support import supervisor

from bloodsearch.search.workers.leases import Leases
from bloodsearch.search.workers.shutdown import Drain
from bloodsearch.search.workers.supervisor import DRAIN_S, PROMPT_S


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
