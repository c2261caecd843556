"""The dashboard answers for the hosts it was started for, and reads only unless told otherwise."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import optuna
import pytest
from tests_support import tiny

from bloodsearch.search.dashboard.artifacts import artifact_folder, store_files
from bloodsearch.search.dashboard.filters import with_token
from bloodsearch.search.dashboard.hosts import allowed_authorities, is_loopback, url
from bloodsearch.search.database.optuna_rows import replace_study_attrs
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.errors import UsageError

Ask = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a database with one study of one finished trial."""
    url = f"sqlite:///{tmp_path_factory.mktemp('dashboard') / 'x.db'}"
    storage = open_storage(url, create=True)
    tiny(storage).add_trial(optuna.trial.create_trial(value=0.5))
    storage.close()
    return url


@pytest.fixture(scope="module")
def dashboards(stored: str) -> Iterator[dict[str, int]]:
    """A read-only and a writable dashboard of one study; their ports."""
    url = stored
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


WRITES = [
    ("PUT", "/api/studies/1/note", {"version": 1, "body": "planted"}),
    ("PUT", "/api/studies/1/1/note", {"version": 1, "body": "planted"}),
    ("POST", "/api/studies", {"study_name": "planted", "directions": ["maximize"]}),
    ("POST", "/api/studies/1/rename", {"study_name": "planted"}),
    ("POST", "/api/trials/1/tell", {"state": "Fail"}),
    ("POST", "/api/trials/1/user-attrs", {"user_attrs": {"planted": 1}}),
    ("POST", "/api/artifacts/1", {"file": "data:text/plain;base64,eA==", "filename": "x"}),
    ("POST", "/api/artifacts/1/1", {"file": "data:text/plain;base64,eA==", "filename": "x"}),
    ("DELETE", "/api/artifacts/1/00000000-0000-0000-0000-000000000000", {}),
    ("POST", "/incompatible-rdb-schema", {}),
    ("DELETE", "/api/studies/1", {}),
]
"""The writes of optuna-dashboard 0.21, the one that ends everything last."""
TRICKS: list[Callable[[str], str]] = [
    lambda path: path,
    lambda path: path + "/",
    lambda path: "/" + path,
    lambda path: path.replace("/api", "/%61pi"),
    lambda path: path.replace("/", "%2f")[3:],
    lambda path: "/x/.." + path,
    lambda path: path + ";x=1",
    lambda path: path + "?_method=GET",
    lambda path: path + ".",
    lambda path: "http://localhost" + path,
]


@pytest.mark.parametrize("trick", range(len(TRICKS)))
def test_no_spelling_of_a_path_writes(stored: str, dashboards: dict[str, int], trick: int) -> None:
    before = content(stored)
    for method, path, body in WRITES:
        spelled = TRICKS[trick](path)
        for verb in (method, method.lower(), "PROXY", "ANY", "PATCH", "TRACE", "PROPFIND"):
            status, _ = sent(dashboards["read-only"], verb, spelled, body)
            assert status in (400, 403, 405), (verb, spelled)
        for verb in ("GET", "HEAD", "OPTIONS"):
            override = {"X-HTTP-Method-Override": method, "X-Method-Override": method}
            override |= {"X-HTTP-Method": method}
            assert sent(dashboards["read-only"], verb, spelled, body, override)[0] != 204
    assert content(stored) == before


def test_writable_dashboard_writes(dashboards: dict[str, int]) -> None:
    assert sent(dashboards["writable"], *WRITES[0])[0] == 204


def sent(
    port: int, method: str, path: str, body: object, headers: dict[str, str] | None = None
) -> tuple[int, str]:
    """Send a request as a page of the dashboard would."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    own = {"Origin": f"http://127.0.0.1:{port}", "Content-Type": "application/json"}
    connection.request(method, path, json.dumps(body), own | (headers or {}))
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def content(url: str) -> list[str]:
    """All that the database holds."""
    with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as db:
        return list(db.iterdump())


@pytest.fixture
def artifact(stored: str, dashboards: dict[str, int]) -> str:
    """The path of an HTML file with a script that someone has planted as an artifact of the study."""
    opened = open_storage(stored, create=False)
    folder = artifact_folder(opened)
    new, _ = store_files(folder, "tiny", None, {"x.html": b"<script>1</script>"}, {})
    with opened.engine.begin() as db:
        replace_study_attrs(db, 1, new)
    opened.close()
    return f"/artifacts/1/{next(iter(new)).removeprefix('artifacts:')}"


def test_artifacts_are_served_in_a_sandbox(artifact: str, dashboards: dict[str, int]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", dashboards["read-only"], timeout=20)
    connection.request("GET", artifact)
    answer = connection.getresponse()
    assert answer.read() == b"<script>1</script>"
    policy = answer.headers["Content-Security-Policy"]
    connection.close()
    assert policy.startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in policy
    assert "connect-src 'none'" in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    "path", ["/artifacts/1/..%2f..%2fx.db", "/artifacts/1/../../x.db", "/static/../../x.db"]
)
def test_no_path_leaves_the_folders(dashboards: dict[str, int], path: str) -> None:
    status, body = sent(dashboards["read-only"], "GET", path, None)
    assert status in (403, 404)
    assert "SQLite" not in body


def test_only_visitors_with_the_token_are_answered() -> None:
    calls = []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        calls.append(environ["PATH_INFO"])
        start_response("200 OK", [])
        return [b"secret"]

    def ask(path: str = "/", **environ: str) -> tuple[str, dict[str, str]]:
        answers: list[tuple[str, dict[str, str]]] = []
        full = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "SERVER_PORT": "1", **environ}
        with_token(app, "s3cret")(full, lambda status, h: answers.append((status, dict(h))))
        return answers[0]

    for path in ("/", "//api/studies", "/api/studies;", "/static/bundle.js", "/%61pi", ""):
        assert ask(path)[0] == "401 Unauthorized"
        assert ask(path, HTTP_AUTHORIZATION="Bearer wrong")[0] == "401 Unauthorized"
        assert ask(path, HTTP_AUTHORIZATION="Bearer ")[0] == "401 Unauthorized"
        assert ask(path, QUERY_STRING="token=")[0] == "401 Unauthorized"
        assert ask(path, HTTP_COOKIE="bloodsearch-1=wrong; =;;")[0] == "401 Unauthorized"
    assert not calls
    status, headers = ask("//evil.example/x", QUERY_STRING="token=s3cret")
    assert (status, headers["Location"]) == ("303 See Other", "/evil.example/x")
    assert "HttpOnly" in headers["Set-Cookie"]
    cookie = headers["Set-Cookie"].split(";")[0]
    assert ask(HTTP_COOKIE=cookie)[0] == ask(HTTP_AUTHORIZATION="Bearer s3cret")[0] == "200 OK"


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.0.2.1", False), ("example.org", False)],
)  # fmt: skip
def test_loopback_is_recognised(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("127.0.0.1", "http://127.0.0.1:80/"),
        ("0.0.0.0", "http://127.0.0.1:80/"),
        ("::1", "http://[::1]:80/"),
        ("lab.example", "http://lab.example:80/"),
    ],
)
def test_address_that_is_printed(host: str, shown: str) -> None:
    assert url(host, 80) == shown


def test_wildcard_address_means_this_machines_names_and_addresses() -> None:
    authorities = allowed_authorities("0.0.0.0", 8080)
    assert f"{socket.gethostname().lower()}:8080" in authorities
    assert {"127.0.0.1:8080", "localhost:8080", "[::1]:8080"} <= authorities
    assert "0.0.0.0:8080" not in authorities


@pytest.mark.parametrize("entry", ["", "http://x", "x:y", "a b", "x/y", "u@x", "a,b"])
def test_allow_host_takes_host_and_port_only(entry: str) -> None:
    with pytest.raises(UsageError, match="is not HOST or HOST:PORT"):
        allowed_authorities("127.0.0.1", 8080, [entry])
