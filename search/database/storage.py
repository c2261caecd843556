"""The database: opened safely, and locked where it must be.

SQLite serves one machine, PostgreSQL many. Optuna's storage is used as it is; what it leaves open is
settled here: WAL and a long busy timeout on SQLite, a small pre-pinged pool on PostgreSQL, one lock
per database around creation (a file lock, an advisory lock), and one per study around each claim.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import optuna
import sqlalchemy as sa
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.exc import SQLAlchemyError

from .. import env
from ..errors import StorageError
from .optuna_rows import studies_table
from .outage import reason_of, retry_outage
from .passwords import redact, shown

if TYPE_CHECKING:
    import psycopg

DEFAULT_URL = "sqlite:///bloodsearch.db"
_USE = "use sqlite:///FILE.db or postgresql+psycopg://USER@HOST/DATABASE"
BUSY_TIMEOUT_S = 60.0
LOCK_TIMEOUT_S = 120.0
# Any fixed number: PostgreSQL's advisory locks are named by 64 bits, per database.
ADVISORY_KEY = 0x626C6F6F64736561

# A suspended process (SIGSTOP, a laptop's lid) must not keep the others waiting with its locks for
# longer than its lease.
_IDLE_MS = max(1, int(env.lease_s() * 1000))
# Per transaction too, for poolers between us and the server that forget what a connection has set.
_TRANSACTION_LIMITS = (
    f"SET LOCAL lock_timeout = {int(LOCK_TIMEOUT_S * 1000)};"
    f"SET LOCAL idle_in_transaction_session_timeout = {_IDLE_MS}"
)

_CONNECTION = {
    "connect_timeout": 10,
    "application_name": "bloodsearch",
    # a server that vanished with its network is noticed within a minute, not after hours
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


@dataclass(frozen=True, slots=True)
class Storage:
    """One process's way into the database."""

    url: sa.URL
    optuna: BaseStorage
    """Cached, as Optuna's own `get_storage` makes it: uncached reads cost seconds at 3,000 trials."""
    engine: sa.Engine
    remove_session: Callable[[], None]

    @property
    def shown(self) -> str:
        """The address without its password, for messages and records."""
        return shown(self.url)

    @property
    def full_url(self) -> str:
        """The address with its password: for a child's environment only, never for a message."""
        return self.url.render_as_string(hide_password=False)

    @property
    def sqlite_path(self) -> Path | None:
        return Path(self.url.database or "") if self.url.get_backend_name() == "sqlite" else None

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """The one lock of this database, held while a study is made. Released by a crash."""
        return _lock(self.url, self.engine)

    def now(self) -> sa.ColumnElement[float]:
        """The database's clock in seconds, so that workers' clocks need not agree."""
        if self.sqlite_path is not None:
            return sa.literal_column("(julianday('now') - 2440587.5) * 86400.0", sa.Float)
        return sa.cast(sa.func.extract("epoch", sa.func.clock_timestamp()), sa.Float)

    def age(self, moment: sa.ColumnElement[float]) -> sa.ColumnElement[float]:
        """Seconds since `moment`, not counting a time when the database was away."""
        if self.sqlite_path is None:
            # after a restart nobody has beaten for as long as it took
            moment = sa.func.greatest(moment, _server_start())
        return self.now() - moment

    @contextlib.contextmanager
    def exclusive(self, study_id: int) -> Iterator[sa.Connection]:
        """A transaction that overlaps no other such one, and no creation of a trial, of this study.

        Ends with the process that holds it; on PostgreSQL also when that process is suspended.
        """
        with self.engine.begin() as db:
            if self.sqlite_path is not None:
                # from here on the one writer: a lock taken at the first write could be refused
                # at once, because the rows read before it may have changed (SQLITE_BUSY_SNAPSHOT)
                db.execute(sa.text("BEGIN IMMEDIATE"))
            else:
                db.exec_driver_sql(_TRANSACTION_LIMITS)
                study = studies_table.c.study_id
                db.execute(sa.select(study).where(study == study_id).with_for_update())
            yield db

    def close(self) -> None:
        self.remove_session()
        self.engine.dispose()


def _server_start() -> sa.ColumnElement[float]:
    return sa.cast(sa.func.extract("epoch", sa.func.pg_postmaster_start_time()), sa.Float)


def parse_url(text: str) -> sa.URL:
    """A checked storage address. Raises StorageError; the message never holds a password."""
    try:
        url = sa.make_url(text)
        backend = url.get_backend_name()
    except (sa.exc.ArgumentError, ValueError):
        raise StorageError(f"the storage address is not a database URL; {_USE}") from None
    if "@" in (url.host or ""):
        raise StorageError("an @ in the password of a storage address has to be written as %40")
    if backend == "postgresql":
        # SQLAlchemy 2.0 took psycopg2 for a bare "postgresql://", 2.1 takes psycopg 3
        return url.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise StorageError(f"{url.drivername} is not supported; {_USE}")
    if url.host or url.username or url.password or url.port:
        raise StorageError(f"an SQLite database has no host and no user; {_USE}")
    if not url.database or url.database == ":memory:":
        raise StorageError(
            "an in-memory SQLite database cannot be shared by workers; use sqlite:///FILE.db"
        )
    return url.set(drivername="sqlite", database=os.path.abspath(url.database))


def open_storage(text: str, *, create: bool, give_up: Callable[[], bool] | None = None) -> Storage:
    """Open the database at `text`; with `create`, make its tables first if it has none.

    With `give_up` a database that is away is waited for, as `retry_outage` does. Raises StorageError
    when it cannot be reached, is not Optuna's, or does not exist.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # its messages repeat ours
    url = parse_url(text)
    if url.get_backend_name() == "sqlite":
        _check_sqlite_path(Path(url.database or ""), create)
    try:
        if give_up is None:
            return _open(url, create)
        return retry_outage(lambda: _open(url, create), give_up=give_up)
    except (SQLAlchemyError, optuna.exceptions.OptunaError, OSError, RuntimeError) as error:
        raise StorageError(
            f"cannot use {shown(url)}: {redact(reason_of(error), url)}; "
            "mend the address, or name another database with --storage"
        ) from None


def _open(url: sa.URL, create: bool) -> Storage:
    probe = sa.create_engine(url, **_engine_options(url, look_only=True))
    try:
        with _lock(url, probe) if create else contextlib.nullcontext():
            _check_owner(probe, shown(url), create)
            if not create:
                probe.dispose()  # where connections are short, one must do
            rdb = _optuna_storage(url, create)
    finally:
        probe.dispose()
    if url.get_backend_name() == "postgresql":
        sa.event.listen(rdb.engine, "connect", _limit_idle_transactions)
        rdb.remove_session()
        rdb.engine.dispose()  # the connections of the constructor have no limit
    return Storage(url, optuna.storages.get_storage(rdb), rdb.engine, rdb.remove_session)


def _optuna_storage(url: sa.URL, create: bool) -> RDBStorage:
    rdb = RDBStorage.__new__(RDBStorage)
    try:
        rdb.__init__(  # type: ignore[misc]
            url.render_as_string(hide_password=False),
            engine_kwargs=_engine_options(url),
            skip_table_creation=not create,
        )
    except BaseException:
        # a constructor that fails keeps its connections: many attempts would take all there are
        if hasattr(rdb, "engine"):
            rdb.engine.dispose()
        raise
    return rdb


def _limit_idle_transactions(connection: psycopg.Connection, record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET idle_in_transaction_session_timeout = {_IDLE_MS}")
    connection.commit()


def _check_owner(engine: sa.Engine, where: str, create: bool) -> None:
    tables = set(sa.inspect(engine).get_table_names())
    if "version_info" in tables:
        return
    if not create:
        raise StorageError(f"{where} holds no studies; `bloodsearch optimize` creates one")
    if tables:
        raise StorageError(
            f"{where} belongs to another program (it holds the table {min(tables)}); "
            "name another database with --storage"
        )


def _check_sqlite_path(path: Path, create: bool) -> None:
    try:
        path.exists()
    except OSError as error:  # no way into the folder, a name of 300 letters
        raise StorageError(
            f"{path} cannot be used ({error.strerror}); name another database with --storage"
        ) from None
    if path.is_dir():
        raise StorageError(f"{path} is a folder; name a file, e.g. sqlite:///{path}/bloodsearch.db")
    if not path.exists() and not create:
        raise StorageError(f"{path} does not exist; `bloodsearch optimize` creates it")
    if not path.parent.is_dir():
        raise StorageError(f"the folder {path.parent} does not exist; create it first")
    if path.exists() and not path.is_file():
        raise StorageError(f"{path} is no regular file; name another database with --storage")
    target = path if path.exists() else path.parent
    if not os.access(target, os.W_OK):
        raise StorageError(f"no permission to write {target}; name another database with --storage")


def _engine_options(url: sa.URL, *, look_only: bool = False) -> dict[str, object]:
    if url.get_backend_name() != "sqlite":
        return {
            # a worker needs one connection to work and one for its beat
            "pool_size": 2,
            "max_overflow": 2,
            "pool_pre_ping": True,
            "connect_args": {k: v for k, v in _CONNECTION.items() if k not in url.query},
        }
    path = url.database or ""

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
        if look_only:  # the database may be another program's: leave its journal as it is
            return connection
        # The default journal costs an fsync per commit: 3-20 ms per reported epoch, against
        # 0.5-0.8 ms so. A power cut may lose the last commits, a killed process none.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    return {"creator": connect}


@contextlib.contextmanager
def _lock(url: sa.URL, engine: sa.Engine) -> Iterator[None]:
    if url.get_backend_name() == "sqlite":
        with filelock.FileLock(f"{url.database}.lock", timeout=LOCK_TIMEOUT_S):
            yield
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text(f"SET lock_timeout = {int(LOCK_TIMEOUT_S * 1000)}"))
        connection.execute(sa.select(sa.func.pg_advisory_lock(ADVISORY_KEY)))
        try:
            yield
        finally:
            # a lost connection has released the lock already
            with contextlib.suppress(SQLAlchemyError):
                connection.execute(sa.select(sa.func.pg_advisory_unlock(ADVISORY_KEY)))
                connection.execute(sa.text("RESET lock_timeout"))
