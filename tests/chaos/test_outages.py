"""Storages that go away, refuse, fill up or are locked: waited for, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from postgres_roles import role_with_password
from tests_support import (
    FINGERPRINT,
    assert_exact,
    claims,
    fill_disk,
    supervisor,
    tiny,
    tiny_study,
    url_of,
)

from bloodsearch.search.database.outage import retry_outage
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.database.tables import leases_table, workers_table
from bloodsearch.search.errors import StorageError
from bloodsearch.search.study import create_or_resume
from bloodsearch.search.workers.leases import Leases


def test_locked_sqlite_is_waited_for(
    sqlite_url: str, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program holds the write lock for seconds."""
    storage = open_storage(sqlite_url, create=True)
    study = tiny(storage)

    def hold() -> None:
        with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as db:
            while not claims(log):
                time.sleep(0.05)
            while True:
                with contextlib.suppress(sqlite3.OperationalError):
                    db.execute("BEGIN IMMEDIATE")
                    break
            time.sleep(4)
            db.rollback()

    holder = threading.Thread(target=hold)
    holder.start()
    assert supervisor(storage, study, 6, 2).run()
    holder.join()
    assert_exact(Leases(storage, study), 6)
    storage.close()


def test_restarted_postgres_is_waited_for(
    own_server: Any, log: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIM_EPOCH_S", "0.3")
    storage = open_storage(url_of(own_server), create=True)
    study = tiny(storage)
    times: list[float] = []

    def restart_once() -> None:
        if not times and len(claims(log)) >= 3:
            times.append(time.monotonic())
            own_server.stop()
            threading.Timer(4, own_server.start).start()

    assert supervisor(storage, study, 8, 2, on_tick=restart_once).run()
    assert times
    assert_exact(Leases(storage, study), 8)
    assert Counter(claims(log)) == Counter(range(8))  # nobody lost a trial over it
    said = capfd.readouterr().err
    assert "the storage does not answer (" in said
    assert "waiting for it" in said
    storage.close()


def test_storage_that_stays_away_ends_with_exit_4_and_loses_nothing(
    own_server: Any, log: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIM_EPOCH_S", "0.5")
    monkeypatch.setenv("BLOODSEARCH_OUTAGE_S", "2")
    storage = open_storage(url_of(own_server), create=True)
    study = tiny(storage)
    stopped: list[float] = []

    def stop_once() -> None:
        if not stopped and len(claims(log)) >= 2:
            stopped.append(time.monotonic())
            own_server.stop()

    with pytest.raises(StorageError) as caught:
        supervisor(storage, study, 6, 2, on_tick=stop_once).run()
    assert caught.value.exit_code == 4
    assert "did not answer" in capfd.readouterr().err
    own_server.start()
    monkeypatch.setenv("BLOODSEARCH_OUTAGE_S", "60")
    retry_outage(Leases(storage, study).reclaim)
    with storage.engine.connect() as db:
        leases = db.execute(sa.select(leases_table.c.worker_id, leases_table.c.deaths)).all()
    assert leases == [(None, 0)] * 2
    assert supervisor(storage, study, 6, 2).run()
    assert_exact(Leases(storage, study), 6)
    storage.close()


def test_worker_that_starts_during_an_outage_waits(own_server: Any) -> None:
    """It would end with exit 4 otherwise, and its slot would stay empty for the rest of the search."""
    url = url_of(own_server)
    open_storage(url, create=True).close()
    own_server.stop()
    with pytest.raises(StorageError):
        open_storage(url, create=False)
    threading.Timer(1.5, own_server.start).start()
    open_storage(url, create=False, give_up=lambda: False).close()


def test_too_many_connections_are_waited_for(
    postgres_url: str, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has room for five: this process, and two of four workers with a beat each."""
    monkeypatch.setenv("SIM_EPOCH_S", "0.1")
    with role_with_password(postgres_url, "secret") as url:
        storage = open_storage(url.set(password="secret").render_as_string(False), create=True)
        study = tiny(storage)
        engine = sa.create_engine(postgres_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as db:
            db.execute(sa.text(f'ALTER ROLE "{url.username}" CONNECTION LIMIT 5'))
        assert supervisor(storage, study, 10, 4).run()
        assert_exact(Leases(storage, study), 10)
        assert Counter(claims(log)) == Counter(range(10))
        storage.close()


def test_suspended_transaction_ends_with_its_lease(postgres_url: str, log: Path) -> None:
    """A worker stopped (SIGSTOP) in the middle of a beat must not keep the others waiting."""
    script = (
        "import sys, time, sqlalchemy as sa; from bloodsearch.search.database.storage import open_storage;"
        "s = open_storage(sys.argv[1], create=False); db = s.engine.connect();"
        "db.execute(sa.text('UPDATE bloodsearch_workers SET beat = 0'));"
        "print('holds it', flush=True); time.sleep(60)"
    )
    storage = open_storage(postgres_url, create=True)
    leases = Leases(storage, tiny(storage))
    with storage.engine.begin() as db:
        values = {"worker_id": "w", "study_id": 1, "host": "h", "pid": 1, "pid_started": 0.0}
        more = {"boot_id": "b/1", "device": "cpu", "beat": 0.0, "drain": False}
        db.execute(sa.insert(workers_table).values(**values, **more))
    holder = subprocess.Popen(
        [sys.executable, "-c", script, postgres_url],
        stdout=subprocess.PIPE,
        env={**os.environ, "BLOODSEARCH_LEASE_S": "1"},
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"holds it\n"
    started = time.monotonic()
    assert leases.registry.request_drain() == 1  # writes the row that is held
    assert time.monotonic() - started < 10
    holder.kill()
    holder.communicate()
    storage.close()


def test_full_disk_leaves_the_last_checkpoint_whole(small_disk: Path) -> None:
    import torch

    from bloodsearch.search.training import checkpoint

    large = {"weights": torch.zeros(3_000_000)}
    with pytest.raises(OSError, match=r"cannot write|No space left"):
        checkpoint.save(small_disk / "x.pt", large)
    assert list(small_disk.iterdir()) == []
    checkpoint.save(small_disk / "x.pt", {"weights": torch.zeros(10)})
    with pytest.raises(OSError, match=r"cannot write|No space left"):
        checkpoint.save(small_disk / "x.pt", large)
    assert len(checkpoint.load(small_disk / "x.pt")["weights"]) == 10


def test_full_disk_under_the_database_is_waited_for(
    small_disk: Path, log: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIM_EPOCH_S", "0.1")
    storage = open_storage(f"sqlite:///{small_disk / 'x.db'}", create=True)
    study = create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    filled: list[float] = []

    def fill_up_for_a_while() -> None:
        if not filled and len(claims(log)) >= 3:
            filled.append(time.monotonic())
            fill_disk(small_disk / "filler")
            threading.Timer(3, (small_disk / "filler").unlink).start()

    assert supervisor(storage, study, 8, 2, on_tick=fill_up_for_a_while).run()
    assert filled
    assert_exact(Leases(storage, study), 8)
    assert Counter(claims(log)) == Counter(range(8))
    assert "disk is full" in capfd.readouterr().err
    storage.close()
