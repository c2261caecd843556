"""A PostgreSQL role that has to show a password, on a server that trusts everybody else."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import sqlalchemy as sa


@contextlib.contextmanager
def role_with_password(postgres_url: str, password: str) -> Iterator[sa.URL]:
    """The address, without `password`, of a role that owns the database at `postgres_url`."""
    role = f"secretive_{os.getpid()}"
    admin = sa.make_url(postgres_url)
    url = admin.set(username=role)
    with psycopg.connect(conninfo(admin), autocommit=True) as db:
        db.execute(f"""CREATE ROLE {role} LOGIN PASSWORD '{password.replace("'", "''")}'""")
        db.execute(f"ALTER DATABASE {admin.database} OWNER TO {role}")
        found = db.execute("SHOW hba_file").fetchone()
        assert found is not None
        rules = Path(found[0])
        before = rules.read_text()
        rules.write_text(f"local all {role} scram-sha-256\n{before}")
        db.execute("SELECT pg_reload_conf()")
        try:
            deadline = time.monotonic() + 10
            while _connects(url):
                assert time.monotonic() < deadline, "the server does not ask for the password"
                time.sleep(0.05)
            yield url
        finally:
            rules.write_text(before)
            db.execute("SELECT pg_reload_conf()")
            db.execute(f"REASSIGN OWNED BY {role} TO postgres")
            db.execute(f"DROP ROLE {role}")


def conninfo(url: sa.URL) -> str:
    """`url` as psycopg takes it."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def _connects(url: sa.URL) -> bool:
    try:
        psycopg.connect(conninfo(url)).close()
    except psycopg.OperationalError:
        return False
    return True
