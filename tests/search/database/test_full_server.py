"""A PostgreSQL server with few connections, and one that refuses writes for a while."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy as sa
from pgbouncer import pgbouncer
from postgres_roles import conninfo, role_with_password
from tests_support import assert_exact, supervisor, tiny

from bloodsearch.search.cli import main
from bloodsearch.search.database.budget import connection_budget
from bloodsearch.search.database.outage import is_outage
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.doctor import run_checks
from bloodsearch.search.errors import Interrupted
from bloodsearch.search.workers.leases import Leases
from bloodsearch.search.workers.liveness import own_identity

READ_ONLY = "default_transaction_read_only"


@pytest.fixture
def limited(postgres_url: str) -> Iterator[sa.URL]:
    """The address of a role that may have four connections."""
    with role_with_password(postgres_url, "secret") as url:
        run(postgres_url, f'ALTER ROLE "{url.username}" CONNECTION LIMIT 4')
        yield url.set(password="secret")


def run(url: str, statement: str) -> list[tuple[object, ...]]:
    """Run one statement as the administrator; return its rows."""
    with psycopg.connect(conninfo(sa.make_url(url)), autocommit=True) as db:
        cursor = db.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def text(url: sa.URL) -> str:
    return url.render_as_string(hide_password=False)


def test_worker_keeps_one_idle_connection_at_most_and_a_heartbeat_none(postgres_url: str) -> None:
    storage = open_storage(postgres_url, create=True)
    leases = Leases(storage, tiny(storage))
    count = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{storage.url.database}'"
    together = threading.Barrier(3)

    def use() -> None:
        with storage.engine.connect():
            together.wait(20)

    threads = [threading.Thread(target=use) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    administrator = text(storage.url.set(database="postgres"))

    def wait_for(n: int) -> None:
        deadline = time.monotonic() + 5
        while run(administrator, count) != [(n,)]:  # the server needs a moment to notice
            assert time.monotonic() < deadline
            time.sleep(0.02)

    wait_for(1)
    leases.registry.heartbeat(own_identity("cpu"))
    wait_for(0)
    storage.close()


def test_full_server_is_waited_for_aloud(
    limited: sa.URL, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_storage(text(limited), create=True).close()
    holders = [psycopg.connect(conninfo(limited)) for _ in range(4)]
    monkeypatch.setenv("BLOODSEARCH_OUTAGE_S", "30")

    def close_all() -> None:
        for holder in holders:
            holder.close()

    threading.Timer(1.0, close_all).start()
    open_storage(text(limited), create=False).close()
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1
    assert "no free connection" in messages[0]
    assert "waiting up to 30 s" in messages[0]
    assert "secret" not in messages[0]


def test_status_and_stop_get_in_while_workers_use_every_connection(
    limited: sa.URL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three workers and their supervisor have one connection each, which is all that there are."""
    monkeypatch.setenv("SIM_EPOCH_S", "0.2")
    monkeypatch.setenv("BLOODSEARCH_LEASE_S", "6")  # a heartbeat every second
    storage = open_storage(text(limited), create=True)
    study = tiny(storage)
    ends: list[subprocess.CompletedProcess[str]] = []

    def look_and_stop() -> None:
        for command in (["status", "--json"], ["stop"]):
            line = [sys.executable, "-P", "-m", "bloodsearch", *command, "--name", "tiny"]
            line += ["--storage", text(limited)]
            ends.append(subprocess.run(line, capture_output=True, text=True, timeout=90))

    thread = threading.Timer(5.0, look_and_stop)
    thread.start()
    with pytest.raises(Interrupted):
        supervisor(storage, study, 10_000, 3).run()
    thread.join()
    assert [end.returncode for end in ends] == [0, 0], [end.stderr for end in ends]
    assert json.loads(ends[0].stdout)["complete"] > 0
    storage.close()


def test_doctor_computes_the_budget_of_connections(limited: sa.URL) -> None:
    storage = open_storage(text(limited), create=True)
    assert (connection_budget(storage).most, connection_budget(storage).free) == (4, 4)
    holders = [psycopg.connect(conninfo(limited)) for _ in range(2)]
    budget = connection_budget(storage)
    assert (budget.most, budget.free, budget.tight, budget.pooled) == (4, 2, True, False)
    check = {check.name: check for check in run_checks(text(limited), None)}["connections"]
    assert check.ok is None
    assert check.finding.startswith("2 of 4 free; a worker keeps at most one")
    assert "max_connections" in check.fix
    more = [psycopg.connect(conninfo(limited)) for _ in range(2)]
    storage.close()
    started = time.monotonic()
    full = {check.name: check for check in run_checks(text(limited), None)}["storage"]
    assert time.monotonic() - started < 10  # it does not wait
    assert full.ok is False
    assert "too many connections" in full.finding
    for holder in holders + more:
        holder.close()


def test_budget_names_a_pooler(postgres_url: str) -> None:
    open_storage(postgres_url, create=True).close()
    with pgbouncer(postgres_url, "transaction", pool_size=4) as url:
        storage = open_storage(url, create=False)
        budget = connection_budget(storage)
        assert budget.pooled
        assert "through a connection pooler" in budget.describe()
        storage.close()


def test_read_only_database_counts_as_an_outage(postgres_url: str) -> None:
    storage = open_storage(postgres_url, create=True)

    def execute(statements: tuple[str, ...]) -> None:
        with storage.engine.begin() as db:
            for statement in statements:
                db.execute(sa.text(statement))

    def fail(*statements: str) -> Exception:
        with pytest.raises(sa.exc.InternalError) as caught:
            execute(statements)
        return caught.value

    assert is_outage(fail("SET TRANSACTION READ ONLY", "CREATE TABLE x (y int)"))
    bug = fail("SELECT * FROM studies", "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
    assert not is_outage(bug)
    storage.close()


def test_status_shows_a_study_in_a_read_only_database(
    postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a standby server, or while an administrator has switched writes off."""
    storage = open_storage(postgres_url, create=True)
    tiny(storage)
    name = storage.url.database
    storage.close()
    run(text(storage.url.set(database="postgres")), f"ALTER DATABASE {name} SET {READ_ONLY} = on")
    with pytest.raises(SystemExit) as ended:
        main(["status", "--name", "tiny", "--json", "--storage", postgres_url])
    output = capsys.readouterr()
    assert ended.value.code == 0
    assert json.loads(output.out)["complete"] == 0
    assert "is read-only" in output.err


def test_search_survives_a_database_that_turns_read_only(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As in a failover: connections are cut, the next ones may only read, then all is well again."""
    monkeypatch.setenv("SIM_EPOCH_S", "0.1")
    storage = open_storage(postgres_url, create=True)
    study = tiny(storage)
    name = storage.url.database
    cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    administrator = text(storage.url.set(database="postgres"))

    def switch(mode: str) -> None:
        run(administrator, f"ALTER DATABASE {name} SET {READ_ONLY} = {mode}")
        run(administrator, cut)

    def fail_over() -> None:
        while sum(Leases(storage, study).counts().values()) < 3:
            time.sleep(0.1)
        switch("on")
        time.sleep(2)
        switch("off")

    thread = threading.Thread(target=fail_over)
    thread.start()
    assert supervisor(storage, study, 12, 2).run()
    thread.join()
    assert_exact(Leases(storage, study), 12)
    errors = capfd.readouterr().err
    assert "read-only transaction" in errors
    assert "died" not in errors
    storage.close()
