"""Signals end a search with exit 130 within 5 seconds, whatever holds it up, and nothing stays running.

The searches are processes of their own whose trials sleep.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState
from tests_support import assert_exact, claims, tiny, url_of

from bloodsearch.search.database.storage import Storage, open_storage
from bloodsearch.search.database.tables import leases_table
from bloodsearch.search.study import load
from bloodsearch.search.workers.leases import Leases

ROOT = Path(__file__).parents[2]
LIMIT_S = 5.0
SLACK_S = 5.0
"""For a machine that is busy with other work; what hangs takes 20 s or 60 s."""

PATIENT = {"SIM_PATIENCE_S": "40"}
"""Where the supervisor's impatience would hide that something else did not work."""

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(log: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a search of N trials in a process group of its own; killed at the end of the test."""
    started: list[subprocess.Popen[bytes]] = []

    def run(url: str, n_trials: int, n_workers: int, **env: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "benchmarks.simulated_search", url, "tiny"]
        command += [str(n_trials), str(n_workers)]
        with (tmp_path / "said").open("ab") as said:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **env}, stdout=said, stderr=said
            )
        started.append(process)
        return process

    yield run
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children():
                child.kill()
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def leases_of(url: str) -> tuple[Storage, Leases]:
    storage = open_storage(url, create=False)
    return storage, Leases(storage, load(storage, "tiny"))


def ended_in_time(process: subprocess.Popen[bytes], *numbers: signal.Signals) -> float:
    """Seconds from the first signal to exit 130."""
    began = time.monotonic()
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.3)  # two signals at once are one
    assert process.wait(60) == 130
    return time.monotonic() - began


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_that_do_not_hear_are_killed_in_time(
    start: Start, storage_url: str, log: Path, number: signal.Signals
) -> None:
    """A batch of minutes, a library that hangs: the trial waits, and is not called poison for it."""
    process = start(storage_url, 4, 2, SIM_DEAF="1", SIM_EPOCH_S="60")
    wait_for(lambda: len(claims(log)) == 2)
    assert ended_in_time(process, number) < LIMIT_S + SLACK_S
    storage, leases = leases_of(storage_url)
    counts = leases.counts()
    assert (counts[TrialState.RUNNING], counts[TrialState.WAITING]) == (0, 2)
    assert leases.registry.workers() == []
    with storage.engine.connect() as db:
        assert db.execute(sa.select(sa.func.sum(leases_table.c.deaths))).scalar() == 0
    storage.close()
    assert start(storage_url, 4, 2).wait(180) == 0
    storage, leases = leases_of(storage_url)
    assert_exact(leases, 4)
    storage.close()


def test_second_signal_aborts(start: Start, storage_url: str, log: Path) -> None:
    process = start(storage_url, 4, 2, SIM_DEAF="1", SIM_EPOCH_S="60", **PATIENT)
    wait_for(lambda: len(claims(log)) == 2)
    assert ended_in_time(process, signal.SIGINT, signal.SIGINT) < LIMIT_S + SLACK_S
    storage, leases = leases_of(storage_url)
    assert leases.counts()[TrialState.RUNNING] == 0
    storage.close()


def test_worker_that_starts_is_not_waited_for(start: Start, storage_url: str) -> None:
    """Libraries and data take seconds to load; before its first claim a worker has nothing to give."""
    process = start(storage_url, 4, 2, SIM_START_S="60", **PATIENT)
    wait_for(lambda: len(psutil.Process(process.pid).children()) == 2)
    time.sleep(3)  # they have their handlers
    assert ended_in_time(process, signal.SIGTERM) < LIMIT_S + SLACK_S
    storage, leases = leases_of(storage_url)
    assert sum(leases.counts().values()) == 0
    storage.close()


def test_locked_database_does_not_keep_the_command(
    start: Start, sqlite_url: str, log: Path, tmp_path: Path
) -> None:
    """Another program holds SQLite's lock, for which everybody waits inside the driver."""
    process = start(sqlite_url, 50, 2, SIM_EPOCH_S="0.05")
    wait_for(lambda: len(claims(log)) >= 3)
    with contextlib.closing(sqlite3.connect(tmp_path / "test.db", timeout=60)) as db:
        db.execute("BEGIN IMMEDIATE")
        time.sleep(1)
        assert ended_in_time(process, signal.SIGINT) < LIMIT_S + SLACK_S
        db.rollback()
    assert start(sqlite_url, 12, 2).wait(180) == 0
    storage, leases = leases_of(sqlite_url)
    n_done = leases.counts()[TrialState.COMPLETE]
    assert n_done >= 12
    assert_exact(leases, n_done)
    storage.close()


def test_frozen_server_does_not_keep_the_command(own_server, start: Start, log: Path) -> None:  # type: ignore[no-untyped-def]
    """PostgreSQL keeps its connections and says nothing more (a paused virtual machine)."""
    url = url_of(own_server)
    process = start(url, 50, 2, SIM_EPOCH_S="0.05")
    wait_for(lambda: len(claims(log)) >= 3)
    postmaster = psutil.Process(own_server.get_pid())
    frozen = [postmaster, *postmaster.children(recursive=True)]
    for server in frozen:
        server.suspend()
    time.sleep(1)
    try:
        assert ended_in_time(process, signal.SIGINT) < LIMIT_S + SLACK_S
    finally:
        for server in frozen:
            server.resume()
    assert start(url, 12, 2).wait(180) == 0
    storage, leases = leases_of(url)
    n_done = leases.counts()[TrialState.COMPLETE]
    assert n_done >= 12
    assert_exact(leases, n_done)
    storage.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_other_commands_end_with_the_same_code(sqlite_url: str, number: signal.Signals) -> None:
    storage = open_storage(sqlite_url, create=True)
    tiny(storage)
    command = [sys.executable, "-P", "-m", "bloodsearch", "status", "tiny", "--watch", "--storage"]
    watching = subprocess.Popen(
        [*command, sqlite_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background jobs are started deaf to Ctrl-C, and so are their children
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )
    assert watching.stdout is not None
    assert "tiny" in watching.stdout.readline()
    watching.send_signal(number)
    _, err = watching.communicate(timeout=20)
    assert watching.returncode == 130
    assert "Traceback" not in err
    storage.close()
