"""A connection pooler between bloodsearch and PostgreSQL: no session state survives there."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pgbouncer import pgbouncer
from tests_support import assert_exact, supervisor, tiny

from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.errors import StorageError
from bloodsearch.search.study import load
from bloodsearch.search.workers.leases import Leases

CREATE = (
    "import sys; sys.path[:0] = sys.argv[2:];"
    "from tests_support import tiny;"
    "from bloodsearch.search.database.storage import open_storage;"
    "tiny(open_storage(sys.argv[1], create=True))"
)
HOLD = (
    "import sys, time; from bloodsearch.search.database.storage import open_storage;"
    "s = open_storage(sys.argv[1], create=True)\n"
    "with s.lock(): print('locked', flush=True); time.sleep(60)"
)


@pytest.fixture(params=["transaction", "session"])
def pooled_url(request: pytest.FixtureRequest, postgres_url: str) -> Iterator[str]:
    """The address of an empty database behind a pooler with four server connections."""
    with pgbouncer(postgres_url, request.param, pool_size=4) as url:
        yield url


def start(script: str, url: str) -> subprocess.Popen[bytes]:
    support = str(Path(__file__).parents[2] / "support")
    command = [sys.executable, "-c", script, url, support]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def advisory_locks(url: str) -> int:
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.connect() as db:
        query = sa.text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        return int(db.execute(query).scalar_one())


def test_four_processes_create_one_study_at_once(pooled_url: str, postgres_url: str) -> None:
    creators = [start(CREATE, pooled_url) for _ in range(4)]
    ends = [creator.communicate(timeout=100) for creator in creators]
    assert [creator.returncode for creator in creators] == [0] * 4, ends
    assert advisory_locks(postgres_url) == 0
    storage = open_storage(pooled_url, create=False)
    assert load(storage, "tiny").user_attrs["ready"]
    storage.close()


def test_search_is_exact_through_a_pooler(
    pooled_url: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIM_EPOCH_S", "0.02")
    storage = open_storage(pooled_url, create=True)
    study = tiny(storage)
    assert supervisor(storage, study, 12, 2).run()
    assert_exact(Leases(storage, study), 12)
    assert "bloodsearch:" not in capfd.readouterr().err
    storage.close()


def test_killed_creator_leaves_no_lock(pooled_url: str, postgres_url: str) -> None:
    creator = start(HOLD, pooled_url)
    assert creator.stdout is not None
    assert creator.stdout.readline() == b"locked\n"
    creator.kill()
    creator.communicate()
    started = time.monotonic()
    storage = open_storage(pooled_url, create=True)
    tiny(storage)
    assert time.monotonic() - started < 10
    assert advisory_locks(postgres_url) == 0
    storage.close()


def test_statement_mode_is_refused_with_what_to_set(postgres_url: str) -> None:
    with (
        pgbouncer(postgres_url, "statement", pool_size=4) as url,
        pytest.raises(
            StorageError, match=r"statement pooling mode; set pool_mode = transaction in"
        ),
    ):
        open_storage(url, create=True)


def test_nothing_is_left_in_the_poolers_connections(postgres_url: str) -> None:
    """In transaction mode the next client of a server connection sees what the last one has set."""
    direct = open_storage(postgres_url, create=True)
    study = tiny(direct)
    direct.close()
    with pgbouncer(postgres_url, "transaction", pool_size=2) as url:
        storage = open_storage(url, create=False)
        Leases(storage, study).counts()
        storage.close()
        plain = {"poolclass": sa.NullPool, "connect_args": {"prepare_threshold": None}}
        engine = sa.create_engine(url, **plain)
        with engine.connect() as first, engine.connect() as second:  # all that the pooler has
            for db in (first, second):
                timeout = sa.text("SHOW idle_in_transaction_session_timeout")
                prepared = sa.text("SELECT count(*) FROM pg_prepared_statements")
                assert db.execute(timeout).scalar_one() == "0"
                assert db.execute(prepared).scalar_one() == 0
