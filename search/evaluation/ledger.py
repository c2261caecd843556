"""The ledger: every opening of the test split, written down before it happens."""

from __future__ import annotations

import contextlib
import datetime
import getpass
import json
import socket
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from .. import __version__
from ..database.outage import retry_outage
from ..database.storage import Storage
from ..database.tables import ledger_table, metadata
from ..errors import RefusedError
from ..files import finite

ALL = -1
"""The trial number of an opening that served every baseline."""


@dataclass(frozen=True, slots=True)
class Opening:
    """One row: who opened the test split, when, for what, and what came of it."""

    opening: int
    study_name: str
    trial: int
    n_replicates: int
    opened_at: str
    opened_by: str
    forced: bool
    data_hash: str
    result: dict[str, Any] | None


def openings(
    storage: Storage, study_name: str | None = None, data_hash: str | None = None
) -> list[Opening]:
    """Return the openings in the storage, of one study or of one data set's test split, oldest first."""
    if not sa.inspect(storage.engine).has_table(ledger_table.name):
        return []
    query = sa.select(ledger_table).order_by(ledger_table.c.opening)
    if study_name is not None:
        query = query.where(ledger_table.c.study_name == study_name)
    if data_hash is not None:
        query = query.where(ledger_table.c.data_hash == data_hash)
    with storage.engine.connect() as db:
        return [
            Opening(
                row.opening,
                row.study_name,
                row.trial,
                row.n_replicates,
                row.opened_at,
                row.opened_by,
                row.forced,
                row.data_hash,
                json.loads(row.result_json) if row.result_json else None,
            )
            for row in db.execute(query)
        ]


def record_opening(
    storage: Storage,
    study_name: str,
    *,
    trial: int,
    n_replicates: int,
    data_hash: str,
    forced: bool,
) -> int:
    """Write the row of an opening that is about to happen, and return its number.

    An opening that then crashes stays on the record: the split may have been seen. Raises RefusedError when
    there is a row of this study already and `forced` is not set. So of two processes that evaluate a study at
    the same time, only one opens the split.
    """
    row = sa.insert(ledger_table).values(
        study_name=study_name,
        trial=trial,
        n_replicates=n_replicates,
        data_hash=data_hash,
        forced=forced,
        **signature(),
    )
    with storage.lock():
        metadata.create_all(storage.engine)
        if not forced:
            refuse_second(storage, study_name)
        with storage.engine.begin() as db:
            key = db.execute(row).inserted_primary_key
        _make_durable(storage)
    assert key is not None
    return int(key[0])


def signature() -> dict[str, str]:
    """Return when, by whom and by which version of bloodsearch an opening is made now."""
    return {
        "opened_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "opened_by": f"{_user()}@{socket.gethostname()}"[:255],
        "version": __version__,
    }


def refuse_second(storage: Storage, study_name: str) -> None:
    """Raise RefusedError when the test split was opened for this study before."""
    earlier = openings(storage, study_name)
    if not earlier:
        return
    last = earlier[-1]
    lost = ""
    if all(opening.result is None for opening in earlier):
        lost = f"; opening {last.opening} was cut off before its result was stored"
    whose = f"trial {last.trial}" if last.trial != ALL else "all baselines"
    raise RefusedError(
        f"the test split was already opened for {study_name!r} ({whose}, {last.opened_at}, by "
        f"{last.opened_by}){lost}; to open it again, add --force: every later result then says that it was "
        f"opened {len(earlier) + 1} times"
    )


def record_result(storage: Storage, opening: int, result: dict[str, Any]) -> None:
    """Add to an opening what came of it, waiting for the database while it is down.

    Raises StorageError when that takes longer than an outage may last.
    """
    text = json.dumps(finite(result), allow_nan=False)
    row = sa.update(ledger_table).where(ledger_table.c.opening == opening).values(result_json=text)

    def store() -> None:
        with storage.engine.begin() as db:
            db.execute(row)

    retry_outage(store)
    _make_durable(storage)


def _make_durable(storage: Storage) -> None:
    """Write the journal to disk now. A commit waits for no disk, so a power cut could undo an opening."""
    if storage.sqlite_path is None:
        return
    with contextlib.suppress(sa.exc.OperationalError), storage.engine.connect() as db:
        # moves what no reader needs into the database; before that it writes the journal to disk
        db.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no passwd entry in a container
        return "unknown"
