"""A real PgBouncer in front of a test's PostgreSQL database, on loopback or on a test's own host."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from network_hosts import ADDRESS, Host

PROGRAM = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def pgbouncer(
    postgres_url: str, mode: str, *, pool_size: int, host: Host | None = None
) -> Iterator[str]:
    """Yield the address of `postgres_url`'s database through a pooler in pool mode `mode`.

    The pooler opens at most `pool_size` server connections. It runs on the database's `host`, without one
    on this machine. Skips the test where PgBouncer is not installed.
    """
    if PROGRAM is None:
        pytest.skip("needs PgBouncer: apt-get install pgbouncer (or your system's package)")
    url = sa.make_url(postgres_url)
    sockets = str(url.query["host"])
    port = _free_port()
    listen = ADDRESS if host else "127.0.0.1"
    folder = Path(tempfile.mkdtemp(prefix="bs-pgb-"))
    (folder / "pgbouncer.ini").write_text(f"""
[databases]
* = host={sockets} user={url.username}
[pgbouncer]
listen_addr = {listen}
listen_port = {port}
unix_socket_dir = {folder}
auth_type = any
pool_mode = {mode}
default_pool_size = {pool_size}
max_client_conn = 200
query_wait_timeout = 20
""")
    command = [PROGRAM, str(folder / "pgbouncer.ini")]
    if os.geteuid() == 0:  # it refuses to run as root
        owner = pwd.getpwuid(os.stat(sockets).st_uid).pw_name
        user = owner if owner != "root" else "nobody"
        shutil.chown(folder, user)
        command[1:1] = ["-u", user]
    if host:
        command = host.command(*command)
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    pooled = url.set(host=listen, port=port, query={})
    try:
        _wait_until_it_answers(process, pooled.set(host=str(folder)), folder / "log")
        yield pooled.render_as_string(hide_password=False)
    finally:
        process.terminate()
        process.wait(timeout=10)
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def _wait_until_it_answers(process: subprocess.Popen[bytes], url: sa.URL, log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            psycopg.connect(
                host=url.host, port=url.port, user=url.username, dbname=url.database
            ).close()
            return
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
