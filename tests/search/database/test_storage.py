"""Opening databases, refusing what is none of ours, and waiting for one that went away."""

from __future__ import annotations

import os
import pickle
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from tests_support import tiny

from bloodsearch.search.database.connections import refuse_writes
from bloodsearch.search.database.outage import _Warnings, is_outage, retry_outage
from bloodsearch.search.database.storage import Storage, open_storage, parse_url
from bloodsearch.search.errors import StorageError

CANARY = "s3cr3t-canary"


def test_sqlite_is_opened_in_wal_mode(sqlite_url: str) -> None:
    storage = open_storage(sqlite_url, create=True)
    with storage.engine.connect() as db:
        assert db.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"
        assert db.execute(sa.text("PRAGMA synchronous")).scalar() == 1  # NORMAL
        assert db.execute(sa.text("PRAGMA busy_timeout")).scalar() == 60_000
    storage.close()


def test_plain_optuna_reads_the_storage(storage: Storage, storage_url: str) -> None:
    optuna.create_study(storage=storage.optuna, study_name="s")
    assert optuna.get_all_study_names(storage_url) == ["s"]


def test_clock_is_in_seconds_of_now(storage: Storage) -> None:
    import time

    with storage.engine.connect() as db:
        assert abs(db.execute(sa.select(storage.now())).scalar_one() - time.time()) < 60


def test_lock_excludes_others(storage: Storage) -> None:
    entered = threading.Event()

    def enter() -> None:
        with storage.lock():
            entered.set()

    thread = threading.Thread(target=enter)
    with storage.lock():
        thread.start()
        assert not entered.wait(0.3)
    assert entered.wait(10)
    thread.join()


@pytest.mark.parametrize(
    "text",
    ["nonsense", "", "mysql://u@h/d", "sqlite://", "sqlite:///:memory:", "redis://h", "sqlite:/x"],
)
def test_addresses_that_are_none(text: str) -> None:
    with pytest.raises(StorageError, match=r"sqlite:///FILE\.db"):
        parse_url(text)


def test_bare_postgresql_means_psycopg_3() -> None:
    assert parse_url("postgresql://u@h/d").drivername == "postgresql+psycopg"


def test_password_is_hidden(storage: Storage) -> None:
    url = parse_url(f"postgresql://u:{CANARY}@127.0.0.1:1/d")
    assert CANARY not in Storage(url, storage.optuna, storage.engine, lambda: None).shown
    with pytest.raises(StorageError) as caught:
        open_storage(f"postgresql+psycopg://u:{CANARY}@127.0.0.1:1/d", create=False)
    assert CANARY not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("lease", ["inf", "1e30", "0.0001", "nan", "-1", "soon", ""])
def test_any_length_of_a_lease_opens_a_database(
    storage_url: str, lease: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOODSEARCH_LEASE_S", lease)
    storage = open_storage(storage_url, create=True)
    with storage.lock(), storage.engine.connect() as db:
        db.execute(sa.text("SELECT 1"))
    storage.close()


def test_settings_are_read_at_call_time(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for lease, shown in (("7", "7s"), ("9", "9s")):
        monkeypatch.setenv("BLOODSEARCH_LEASE_S", lease)
        storage = open_storage(postgres_url, create=True)
        with storage.engine.connect() as db:
            timeout = sa.text("SHOW idle_in_transaction_session_timeout")
            assert db.execute(timeout).scalar() == shown
        storage.close()


def test_pickled_storage_keeps_its_settings(storage: Storage) -> None:
    """Optuna's storages can be sent to another process."""
    cached = pickle.loads(pickle.dumps(storage.optuna))
    rdb = cached._backend
    with rdb.engine.begin() as db:
        if storage.sqlite_path is None:
            assert db.execute(sa.text("SHOW lock_timeout")).scalar() == "2min"
        else:
            assert db.execute(sa.text("PRAGMA busy_timeout")).scalar() == 60_000
    rdb.remove_session()
    rdb.engine.dispose()


def test_missing_file_is_not_created_by_a_look(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist"):
        open_storage(f"sqlite:///{tmp_path}/none.db", create=False)
    assert list(tmp_path.iterdir()) == []


def test_folder_instead_of_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="is a folder"):
        open_storage(f"sqlite:///{tmp_path}", create=True)


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="does not exist; create it"):
        open_storage(f"sqlite:///{tmp_path}/no/x.db", create=True)


def test_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.write_text("hello" * 1000)
    with pytest.raises(StorageError, match="not a database"):
        open_storage(f"sqlite:///{path}", create=True)
    assert path.read_text() == "hello" * 1000


def test_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE songs (title TEXT)")
    db.close()
    with pytest.raises(StorageError, match="belongs to another program"):
        open_storage(f"sqlite:///{path}", create=True)
    with sqlite3.connect(path) as db:
        tables = db.execute("SELECT name FROM sqlite_master").fetchall()
    db.close()
    assert tables == [("songs",)]


def test_newer_schema_is_refused(storage: Storage, storage_url: str) -> None:
    with storage.engine.begin() as db:
        db.execute(sa.text("UPDATE version_info SET schema_version = 999"))
        db.execute(sa.text("UPDATE alembic_version SET version_num = 'v999.0.0'"))
    with pytest.raises(StorageError, match="cannot use"):
        open_storage(storage_url, create=False)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_file(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    open_storage(f"sqlite:///{path}", create=True).close()
    path.chmod(0o444)
    with pytest.raises(StorageError, match="no permission"):
        open_storage(f"sqlite:///{path}", create=False)


def outage() -> sa.exc.OperationalError:
    return sa.exc.OperationalError("SELECT 1", {}, Exception("server closed the connection"))


def test_outage_is_waited_for() -> None:
    answers = [outage(), optuna.exceptions.StorageInternalError("away"), None]

    def operation() -> str:
        error = answers.pop(0)
        if error:
            raise error
        return "done"

    assert retry_outage(operation, limit_s=30) == "done"


def test_outages_are_named_once_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bloodsearch.search.database.outage._warn", _Warnings())
    for _ in range(2):
        answers = iter([outage(), outage(), None])

        def operation(answers: Iterator[Exception | None] = answers) -> None:
            if error := next(answers):
                raise error

        retry_outage(operation, limit_s=30)
    (record,) = caplog.records
    assert record.getMessage().startswith("the storage does not answer (server closed")


def test_outage_past_its_limit_ends_in_a_storage_error() -> None:
    def operation() -> None:
        raise outage()

    with pytest.raises(StorageError, match="server closed the connection"):
        retry_outage(operation, limit_s=0.2)


def test_drain_ends_the_waiting() -> None:
    calls = []

    def operation() -> None:
        calls.append(1)
        raise outage()

    with pytest.raises(StorageError):
        retry_outage(operation, give_up=lambda: True)
    assert len(calls) == 1


def test_bugs_are_not_waited_for() -> None:
    calls = []

    def operation() -> None:
        calls.append(1)
        raise KeyError("bug")

    with pytest.raises(KeyError):
        retry_outage(operation)
    assert len(calls) == 1
    assert not is_outage(KeyError())


def test_a_database_that_refuses_writes_still_reads(storage: Storage) -> None:
    tiny(storage)
    looking = open_storage(storage.full_url, create=False)
    refuse_writes(looking.engine)
    study = optuna.load_study(study_name="tiny", storage=looking.optuna)
    assert study.get_trials() == []
    with pytest.raises(optuna.exceptions.StorageInternalError):
        study.set_user_attr("planted", 1)
    with pytest.raises(optuna.exceptions.StorageInternalError):
        optuna.delete_study(study_name="tiny", storage=looking.optuna)
    with pytest.raises(sa.exc.DBAPIError, match=r"read-?only"), looking.engine.begin() as db:
        db.execute(sa.text("DELETE FROM studies"))
    looking.close()
    tiny(storage).set_user_attr("written", 1)
