"""How connections to the database are opened, limited and shared.

A connection to PostgreSQL may pass through a pooler (PgBouncer) that hands the same server connection
to other clients after each transaction. So nothing here sets state that outlives a transaction: no
prepared statements, no session settings, no session locks.
"""

from __future__ import annotations

import contextlib
import logging
import random
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from .. import env
from ..errors import LostStudyError, StorageError
from .keep_alive import keep_alive
from .passwords import redact

if TYPE_CHECKING:
    import psycopg

BUSY_TIMEOUT_S = 60.0
LOCK_TIMEOUT_S = 120.0
# Any fixed number: PostgreSQL's advisory locks are named by 64 bits, per database.
ADVISORY_KEY = 0x626C6F6F64736561

CONNECTIONS_PER_PROCESS = 3
"""The most that one process opens at once: a lock, the work under it, and a heartbeat or Optuna's own."""

_log = logging.getLogger(__name__)

_POSTGRES = {
    "connect_timeout": 10,
    "application_name": "bloodsearch",
    "prepare_threshold": None,
    # a server that vanished with its network is noticed within a minute, not after hours
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}

# libpq reports no SQLSTATE for a refused connection, only the server's or the pooler's text
_SERVER_FULL = (
    "remaining connection slots",
    "too many clients",
    "too many connections",
    "no more connections allowed",
)


@dataclass(frozen=True, slots=True)
class SqliteConnector:
    """Open an SQLite file. Can be pickled, as Optuna's storages can."""

    path: str
    look_only: bool = False

    def __call__(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
        if self.look_only:  # the database may be another program's: leave its journal as it is
            return connection
        # The default journal costs an fsync per commit: 3-20 ms per reported epoch instead of
        # 0.5-0.8 ms. A power cut may lose the last commits, a killed process none.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection


@dataclass(frozen=True, slots=True)
class PostgresConnector:
    """Connect to a PostgreSQL server; wait up to `patience_s` for a connection slot when it is full."""

    url: sa.URL
    patience_s: float

    def __call__(self) -> psycopg.Connection:
        import psycopg

        _, arguments = self.url.get_dialect()().create_connect_args(self.url)
        arguments = {**_POSTGRES, **arguments}
        deadline = time.monotonic() + self.patience_s
        waiting = False
        while True:
            try:
                return psycopg.connect(**arguments)
            except psycopg.OperationalError as error:
                if not is_full(error) or time.monotonic() > deadline:
                    raise
                if not waiting:
                    why = redact(str(error).strip().splitlines()[-1], self.url)
                    _log.warning(
                        "bloodsearch: the database server has no free connection (%s); "
                        "waiting up to %.0f s for one",
                        why,
                        self.patience_s,
                    )
                waiting = True
                time.sleep(random.uniform(0.05, 0.5))


def is_full(error: BaseException) -> bool:
    """Return whether the server or a pooler refused a connection because all are in use."""
    text = str(error)
    return any(sign in text for sign in _SERVER_FULL)


def engine_options(
    url: sa.URL, *, look_only: bool = False, patience_s: float = 0.0
) -> dict[str, Any]:
    """Return the arguments of `create_engine` for `url`.

    With `look_only`, an SQLite file is left as it is. `patience_s` is how long to wait for a connection slot
    of a full PostgreSQL server.
    """
    if url.get_backend_name() == "sqlite":
        return {"creator": SqliteConnector(url.database or "", look_only)}
    return {
        "creator": PostgresConnector(url, patience_s),
        # At most one idle connection: servers often allow no more than 20. A heartbeat closes it (`parting`).
        "pool_size": 1,
        "max_overflow": CONNECTIONS_PER_PROCESS - 1,
        "pool_pre_ping": True,
        "use_native_hstore": False,
    }


def watch_file(engine: sa.Engine, path: Path) -> None:
    """Let every transaction raise LostStudyError once another file, or none, is at `path`.

    A process keeps writing into a file that was moved or removed, and nobody would read that.
    Call after the first connection, which may create the file.
    """
    opened = _file_identity(path)

    def begin(connection: sa.Connection) -> None:
        if _file_identity(path) != opened:
            raise LostStudyError(
                f"{path} was moved, removed or replaced while it was in use; "
                "put it back and run the same command again to resume"
            )

    sa.event.listen(engine, "begin", begin)


def _file_identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def limit_transactions(engine: sa.Engine) -> None:
    """Limit the locks and the idle time of every transaction of `engine`, on PostgreSQL.

    A suspended process (SIGSTOP, a laptop's lid) must not block the others with its locks for longer
    than a lease.
    """
    if engine.dialect.name != "postgresql":
        return
    # at least a second, at most what the server's integer holds
    idle_ms = int(min(max(1.0, env.lease_s()), 2e6) * 1000)
    limits = (
        f"SET LOCAL lock_timeout = {int(LOCK_TIMEOUT_S * 1000)};"
        f"SET LOCAL idle_in_transaction_session_timeout = {idle_ms}"
    )

    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(limits)

    sa.event.listen(engine, "begin", begin)


def refuse_writes(engine: sa.Engine) -> None:
    """Let the database itself refuse every write through `engine` from now on."""
    if engine.dialect.name == "postgresql":

        def begin(connection: sa.Connection) -> None:
            # per transaction: a pooler may give the next one another session
            connection.exec_driver_sql("SET TRANSACTION READ ONLY")

        sa.event.listen(engine, "begin", begin)
        return

    def connect(raw: sqlite3.Connection, _: object) -> None:
        raw.execute("PRAGMA query_only=ON")

    engine.dispose()
    sa.event.listen(engine, "connect", connect)


@contextlib.contextmanager
def creation_lock(url: sa.URL, engine: sa.Engine) -> Iterator[None]:
    """Hold the one lock of a database: a file lock, or an advisory lock of a PostgreSQL transaction.

    Raises StorageError when another process holds it for LOCK_TIMEOUT_S. A crash releases it.
    """
    if url.get_backend_name() == "sqlite":
        lock = filelock.FileLock(f"{url.database}.lock", timeout=LOCK_TIMEOUT_S)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise _locked() from None
        try:
            yield
        finally:
            lock.release()
        return
    with _locked_transaction(engine):
        yield


@contextlib.contextmanager
def _locked_transaction(engine: sa.Engine) -> Iterator[None]:
    """Hold the advisory lock in a transaction of its own.

    Between two attempts no connection is open: a pooler with few of them must have one for the holder's work.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        with engine.connect() as db:
            db.detach()  # closed at the end, not kept idle
            if db.execute(sa.select(sa.func.pg_try_advisory_xact_lock(ADVISORY_KEY))).scalar():
                try:
                    with keep_alive(db, every_s=min(env.lease_s() / 6, 60.0)):
                        yield
                finally:
                    # a lost connection has released the lock already
                    with contextlib.suppress(SQLAlchemyError):
                        db.rollback()
                return
        if time.monotonic() > deadline:
            raise _locked()
        time.sleep(random.uniform(0.05, 0.3))


def _locked() -> StorageError:
    return StorageError(
        f"another process has been creating a study or opening the test split for "
        f"{LOCK_TIMEOUT_S:.0f} s; wait for it to end, or end it, and run the same command again"
    )
