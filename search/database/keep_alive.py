"""A transaction that stays open while its process works elsewhere."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError


@contextlib.contextmanager
def keep_alive(db: sa.Connection, *, every_s: float) -> Iterator[None]:
    """Query `db` from a thread every `every_s` seconds; nothing else may use it meanwhile.

    So the server's limit for idle transactions ends it only when this process is suspended or dead.
    """
    done = threading.Event()

    def query() -> None:
        while not done.wait(every_s):
            try:
                db.execute(sa.text("SELECT 1"))
            except SQLAlchemyError:  # the connection is lost, and the lock with it
                return

    thread = threading.Thread(target=query, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
