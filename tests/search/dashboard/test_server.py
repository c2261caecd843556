"""The dashboard answers for the hosts it was started for, and reads only unless told otherwise."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from tests_support import tiny

from bloodsearch.search.dashboard.hosts import allowed_authorities
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.errors import UsageError

Ask = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def dashboards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """A read-only and a writable dashboard of one study; their ports."""
    url = f"sqlite:///{tmp_path_factory.mktemp('dashboard') / 'x.db'}"
    storage = open_storage(url, create=True)
    tiny(storage)
    storage.close()
    ports, processes = {}, []
    for kind, options in (("read-only", []), ("writable", ["--writable"])):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            ports[kind] = port = int(free.getsockname()[1])
        line = [sys.executable, "-P", "-m", "bloodsearch", "dashboard", "--storage", url, *options]
        line += [
            "--port",
            str(port),
            "--allow-host",
            "proxy.example",
            "--allow-host",
            "p.example:443",
        ]
        processes.append(subprocess.Popen(line, stderr=subprocess.DEVNULL))
    deadline = time.monotonic() + 60
    for process, port in zip(processes, ports.values(), strict=True):
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
    yield ports
    for process in processes:
        process.terminate()
        process.wait(20)


@pytest.fixture(params=["read-only", "writable"])
def ask(request: pytest.FixtureRequest, dashboards: dict[str, int]) -> Ask:
    """Send a request with chosen headers; return status and body. PORT stands for the port."""
    return _asker(dashboards[request.param])


def _asker(port: int) -> Ask:
    def ask(method: str, path: str, **headers: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.putrequest(method, path, skip_host=True)
        for name, value in headers.items():
            connection.putheader(name, value.replace("PORT", str(port)))
        connection.endheaders()
        answer = connection.getresponse()
        body = answer.read().decode()
        connection.close()
        return answer.status, body

    return ask


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:PORT", "localhost:PORT", "LOCALHOST:PORT", "[::1]:PORT", "proxy.example:PORT",
     "p.example:443"],
)  # fmt: skip
def test_hosts_it_was_started_for_are_answered(ask: Ask, host: str) -> None:
    status, body = ask("GET", "/api/studies", Host=host)
    assert status == 200
    assert json.loads(body)["study_summaries"][0]["study_name"] == "tiny"
    assert ask("GET", "/api/studies", Host=host, Origin=f"http://{host}")[0] == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:PORT", "localhost", "127.0.0.1", "localhost:1", "", "127.0.0.2:PORT",
     "localhost:PORT.evil.example", "evil.example@localhost:PORT", "localhost.evil.example:PORT",
     "p.example:PORT", "p.example:80", "localhost:PORT, evil.example", "0.0.0.0:PORT", "[::]:PORT"],
)  # fmt: skip
def test_other_hosts_are_refused_with_one_line(ask: Ask, host: str) -> None:
    for method, path in (("GET", "/api/studies"), ("GET", "/"), ("DELETE", "/api/studies/1")):
        status, body = ask(method, path, Host=host)
        assert status == 403
        assert len(body.splitlines()) == 1
        assert "--allow-host" in body
        assert "evil" not in body


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://localhost", "https://127.0.0.1", "", "file://",
     "http://localhost:PORT.evil.example", "http://evil.example:PORT"],
)  # fmt: skip
def test_other_origins_are_refused(ask: Ask, origin: str) -> None:
    for method, path in (("GET", "/api/studies"), ("DELETE", "/api/studies/1")):
        assert ask(method, path, Host="localhost:PORT", Origin=origin)[0] == 403


def test_proxy_with_https_is_answered(ask: Ask) -> None:
    """Browsers leave out the port of https, and only the origin says which port that is."""
    for origin, status in (("https://p.example", 200), ("http://p.example", 403)):
        assert ask("GET", "/api/studies", Host="p.example", Origin=origin)[0] == status
    assert ask("GET", "/api/studies", Host="p.example")[0] == 200


def test_request_without_a_host_is_refused(ask: Ask) -> None:
    assert ask("GET", "/api/studies")[0] == 403


def test_writes_need_writable(dashboards: dict[str, int]) -> None:
    host = {"Host": "localhost:PORT", "Origin": "http://localhost:PORT"}
    assert _asker(dashboards["read-only"])("DELETE", "/api/studies/1", **host)[0] == 405
    assert _asker(dashboards["writable"])("DELETE", "/api/studies/99", **host)[0] == 404


def test_wildcard_address_means_this_machines_names_and_addresses() -> None:
    authorities = allowed_authorities("0.0.0.0", 8080)
    assert f"{socket.gethostname().lower()}:8080" in authorities
    assert {"127.0.0.1:8080", "localhost:8080", "[::1]:8080"} <= authorities
    assert "0.0.0.0:8080" not in authorities


@pytest.mark.parametrize("entry", ["", "http://x", "x:y", "a b", "x/y", "u@x", "a,b"])
def test_allow_host_takes_host_and_port_only(entry: str) -> None:
    with pytest.raises(UsageError, match="is not HOST or HOST:PORT"):
        allowed_authorities("127.0.0.1", 8080, [entry])
