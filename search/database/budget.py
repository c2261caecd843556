"""Compute how many more connections a PostgreSQL server has room for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa

from .connections import CONNECTIONS_PER_PROCESS
from .storage import Storage

_QUERY = sa.text("""
SELECT current_setting('max_connections')::int AS most,
    current_setting('superuser_reserved_connections')::int
        + coalesce(current_setting('reserved_connections', true), '0')::int AS reserved,
    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser,
    (SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user) AS role_limit,
    (SELECT datconnlimit FROM pg_database WHERE datname = current_database()) AS database_limit,
    count(datid) AS used,
    count(datid) FILTER (WHERE usename = current_user) AS used_by_role,
    count(datid) FILTER (WHERE datname = current_database()) AS used_in_database,
    pg_backend_pid() AS pid
FROM pg_stat_activity
""")


@dataclass(frozen=True, slots=True)
class ConnectionBudget:
    """Connection slots of a server, as far as one role and one database may use them."""

    most: int
    """The largest number of connections that this role may have in this database."""
    free: int
    """How many more can be opened now."""
    pooled: bool
    """Whether a pooler is in between, whose own limits the server does not show."""

    @property
    def tight(self) -> bool:
        """Return whether one more command might have to wait for a connection."""
        return self.free < CONNECTIONS_PER_PROCESS

    def describe(self) -> str:
        """Describe the budget in one line."""
        through = " through a connection pooler, which may allow fewer" if self.pooled else ""
        return (
            f"{self.free} of {self.most} free{through}; a worker keeps at most one, a command opens at "
            f"most {CONNECTIONS_PER_PROCESS}, and both wait when there is none"
        )


def connection_budget(storage: Storage) -> ConnectionBudget:
    """Ask the PostgreSQL server of `storage` for its limits and the connections in use.

    The connection that asks counts as free: it is closed when its command ends.
    """
    with storage.parting() as db:
        row = db.execute(_QUERY).one()
        driver_connection = cast("Any", db.connection.dbapi_connection)
        # a pooler gives its clients made-up process ids
        pooled = driver_connection.info.backend_pid != row.pid
    limits = [(row.most if row.superuser else row.most - row.reserved, row.used)]
    if not row.superuser:
        for limit, used in (
            (row.role_limit, row.used_by_role),
            (row.database_limit, row.used_in_database),
        ):
            if limit >= 0:
                limits.append((limit, used))
    return ConnectionBudget(
        most=min(limit for limit, _ in limits),
        free=max(0, min(limit - used for limit, used in limits) + 1),
        pooled=pooled,
    )
