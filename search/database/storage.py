"""Open the database, and lock it where Optuna does not.

SQLite serves one machine, PostgreSQL many. Optuna's storage is used unchanged. This module adds what it
leaves open: WAL and a long busy timeout on SQLite, a small pool on PostgreSQL, one lock per database around
creation, and one lock per study around each claim.
"""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from .. import env
from ..errors import StorageError
from .connections import creation_lock, engine_options, limit_transactions, watch_file
from .optuna_rows import studies_table
from .outage import reason_of, retry_outage
from .passwords import redact, shown

_USE = "use sqlite:///FILE.db or postgresql+psycopg://USER@HOST/DATABASE"


@dataclass(frozen=True, slots=True)
class Storage:
    """An open database: Optuna's storage, the engine under it, and the locks."""

    url: sa.URL
    optuna: BaseStorage
    """Cached by Optuna's own `get_storage`: uncached reads cost seconds at 3,000 trials."""
    engine: sa.Engine
    remove_session: Callable[[], None]

    @property
    def shown(self) -> str:
        """Return the address without its password, for messages and records."""
        return shown(self.url)

    @property
    def full_url(self) -> str:
        """Return the address with its password: for a child's environment only, never for a message."""
        return self.url.render_as_string(hide_password=False)

    @property
    def sqlite_path(self) -> Path | None:
        """Return the database's file, or None on PostgreSQL."""
        return Path(self.url.database or "") if self.url.get_backend_name() == "sqlite" else None

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Hold the one lock of this database, as while a study is created. A crash releases it.

        Raises StorageError when another process holds it for two minutes.
        """
        return creation_lock(self.url, self.engine)

    def now(self) -> sa.ColumnElement[float]:
        """Return the database's clock in seconds, because workers' clocks may disagree."""
        if self.sqlite_path is not None:
            return sa.literal_column("(julianday('now') - 2440587.5) * 86400.0", sa.Float)
        return sa.cast(sa.func.extract("epoch", sa.func.clock_timestamp()), sa.Float)

    def age(self, moment: sa.ColumnElement[float]) -> sa.ColumnElement[float]:
        """Return the seconds since `moment`. A server's downtime before its last start does not count."""
        if self.sqlite_path is None:
            moment = sa.func.greatest(moment, _server_start())
        return self.now() - moment

    @contextlib.contextmanager
    def exclusive(self, study_id: int) -> Iterator[sa.Connection]:
        """Open a transaction that excludes others of this kind, and creations of trials, in this study.

        It ends with the process that holds it. On PostgreSQL it also ends when that process is suspended.
        """
        with self.engine.begin() as db:
            if self.sqlite_path is not None:
                # Become the one writer now: a lock taken at the first write could be refused at
                # once, because the rows read before it may have changed (SQLITE_BUSY_SNAPSHOT).
                db.execute(sa.text("BEGIN IMMEDIATE"))
            else:
                study = studies_table.c.study_id
                db.execute(sa.select(study).where(study == study_id).with_for_update())
            yield db

    @contextlib.contextmanager
    def parting(self) -> Iterator[sa.Connection]:
        """Open a transaction whose connection is closed at its end instead of kept idle.

        A heartbeat uses it, so no worker occupies a connection slot of the server for long.
        """
        with self.engine.connect() as db:
            if self.sqlite_path is None:
                db.detach()
            with db.begin():
                yield db

    def close(self) -> None:
        """Close all connections."""
        self.remove_session()
        self.engine.dispose()


def database_file(study: optuna.Study) -> Path | None:
    """Return the absolute path of the SQLite file that holds `study`, None for another database."""
    engine = _engine(study)
    if engine is None or engine.url.get_backend_name() != "sqlite" or not engine.url.database:
        return None
    return Path(os.path.abspath(engine.url.database))


def options_of(study: optuna.Study, name: str | None = None) -> list[str]:
    """Return the options that name `study`, or `name` in its storage, in a suggested command."""
    engine = _engine(study)
    storage = [] if engine is None else ["--storage", shown(engine.url)]
    return ["--name", name or study.study_name, *storage]


def _engine(study: optuna.Study) -> sa.Engine | None:
    storage: Any = study._storage
    engine: sa.Engine | None = getattr(getattr(storage, "_backend", storage), "engine", None)
    return engine


def _server_start() -> sa.ColumnElement[float]:
    return sa.cast(sa.func.extract("epoch", sa.func.pg_postmaster_start_time()), sa.Float)


def parse_url(text: str) -> sa.URL:
    """Parse and check a storage address. Raises StorageError, whose message never holds a password."""
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

    Without `give_up`, a server without a free connection slot is waited for. With it, every outage is
    waited for as `retry_outage` does. Raises StorageError when the database cannot be reached, is not
    Optuna's, or does not exist.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # its messages repeat ours
    url = parse_url(text)
    if url.get_backend_name() == "sqlite":
        _check_sqlite_path(Path(url.database or ""), create)
    try:
        if give_up is None:
            return _open(url, create, env.outage_s())
        return retry_outage(lambda: _open(url, create, 0.0), give_up=give_up)
    except (SQLAlchemyError, optuna.exceptions.OptunaError, OSError, RuntimeError) as error:
        reason = redact(reason_of(error), url)
        advice = "check the URL, or name another database with --storage"
        if "statement pooling mode" in reason:
            advice = "set pool_mode = transaction in PgBouncer's configuration"
        raise StorageError(f"cannot use {shown(url)}: {reason}; {advice}") from None


def _open(url: sa.URL, create: bool, patience_s: float) -> Storage:
    probe = sa.create_engine(url, **engine_options(url, look_only=True, patience_s=patience_s))
    limit_transactions(probe)
    try:
        with creation_lock(url, probe) if create else contextlib.nullcontext():
            _check_owner(probe, shown(url), create)
            probe.dispose()  # where connection slots are few, one idle connection is one too many
            rdb = _optuna_storage(url, create, patience_s)
    finally:
        probe.dispose()
    rdb.remove_session()
    if url.get_backend_name() == "sqlite":
        watch_file(rdb.engine, Path(url.database or ""))
    return Storage(url, optuna.storages.get_storage(rdb), rdb.engine, rdb.remove_session)


class _Storage(RDBStorage):
    """Optuna's storage with limited transactions, also after it was pickled, and with faster reads."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        limit_transactions(self.engine)

    def _get_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        # a read makes some 60 objects per trial, and Python looks for garbage among all of them again and
        # again: 3,000 trials took 2.4 s of CPU time with these searches and 1.0 s without
        with _no_garbage_collection():
            return super()._get_trials(*args, **kwargs)


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    if not gc.isenabled():  # the user's choice, or another thread reads
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _optuna_storage(url: sa.URL, create: bool, patience_s: float) -> RDBStorage:
    rdb = _Storage.__new__(_Storage)
    try:
        rdb.__init__(  # type: ignore[misc]
            url.render_as_string(hide_password=False),
            engine_kwargs=engine_options(url, patience_s=patience_s),
            skip_table_creation=not create,
        )
    except BaseException:
        # a constructor that fails keeps its connections: many attempts would take all there are
        if hasattr(rdb, "engine"):
            rdb.engine.dispose()
        raise
    limit_transactions(rdb.engine)
    return rdb


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
        raise StorageError(
            f"{path} does not exist; name the database of your search with --storage, "
            "or create this one with `bloodsearch optimize`"
        )
    if not path.parent.is_dir():
        raise StorageError(f"the folder {path.parent} does not exist; create it first")
    if path.exists() and not path.is_file():
        raise StorageError(f"{path} is not a regular file; name another database with --storage")
    target = path if path.exists() else path.parent
    if not os.access(target, os.W_OK):
        raise StorageError(f"no permission to write {target}; name another database with --storage")
