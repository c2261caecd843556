"""The services' own commands as plain processes, on a PostgreSQL that asks for the password.

No Docker is needed: entrypoint, command and environment come from docker-compose.yml. Only the places
differ: the database's address, the secret's file, the folder of checkpoints and the dashboard's port.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from postgres_roles import conninfo, role_with_password
from tests_support import TINY_STUDY

from tests.containers.compose import command_line, load

pytestmark = pytest.mark.slow

# what a URL or a password file would have to escape
PASSWORD = "p@ss:w/rd %41 'q' $HOME"


@dataclass(frozen=True)
class Deployment:
    """What `docker compose up` would know."""

    url: str
    folder: Path
    variables: dict[str, str]

    def start(self, name: str, *extra: str, **variables: str) -> subprocess.Popen[str]:
        service = load({**self.variables, **variables})["services"][name]
        bin_folder = Path(sys.executable).parent
        environment = {
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.folder),
            **service["environment"],
            "BLOODSEARCH_STORAGE": self.url,
            "BLOODSEARCH_CHECKPOINTS": str(self.folder / "checkpoints"),
            "DB_PASSWORD_FILE": str(self.folder / "db_password"),
        }
        return subprocess.Popen(
            [*command_line(service), *extra],
            cwd=self.folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, name: str, *extra: str, **variables: str) -> tuple[int, str]:
        process = self.start(name, *extra, **variables)
        try:
            output, _ = process.communicate(timeout=90)
        except subprocess.TimeoutExpired:
            process.kill()
            output, _ = process.communicate()
            pytest.fail(f"{name} did not end:\n{output}")
        assert PASSWORD not in output
        return process.returncode, output


@pytest.fixture
def deployment(postgres_url: str, tmp_path: Path) -> Iterator[Deployment]:
    (tmp_path / "db_password").write_text(PASSWORD + "\n")
    study = tmp_path / "tiny.toml"
    study.write_text(TINY_STUDY)
    variables = {
        "HOME": str(tmp_path),
        "STUDY": str(study),
        "STUDY_NAME": "tiny",
        "DATASET": "synthetic",
        "TRIALS": "2",
    }
    with role_with_password(postgres_url, PASSWORD) as url:
        yield Deployment(url.render_as_string(hide_password=False), tmp_path, variables)


def _wait(condition: Any, seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.1)


def test_create_worker_and_dashboard(deployment: Deployment) -> None:
    code, output = deployment.run("create")
    assert code == 0, output
    assert "0 of 2 trials finished" in output
    assert deployment.run("create")[0] == 0  # `docker compose up` runs it again

    code, output = deployment.run("worker")
    assert code == 0, output
    assert "tiny has its 2 trials" in output

    _check_dashboard(deployment)


def _check_dashboard(deployment: Deployment) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # the last of two equal options counts: the same command, on this machine's loopback
    process = deployment.start("dashboard", "--host", "127.0.0.1", "--port", str(port))
    try:
        _wait(lambda: _answers(port) or process.poll() is not None, 60, "no dashboard")
        assert process.poll() is None, process.communicate()[0]
        status, body = _request(port, "GET", "/api/studies")
        assert status == 200
        (study,) = json.loads(body)["study_summaries"]
        assert study["study_name"] == "tiny"
        assert _request(port, "DELETE", f"/api/studies/{study['study_id']}")[0] == 405
        assert _request(port, "GET", f"/api/studies/{study['study_id']}")[0] == 200
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()


def _answers(port: int) -> bool:
    try:
        return _request(port, "GET", "/api/studies")[0] == 200
    except OSError:
        return False


def _request(port: int, method: str, path: str) -> tuple[int, bytes]:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_the_dashboards_sessions_cannot_write(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = load(deployment.variables)["services"]["dashboard"]["environment"]["PGOPTIONS"]
    url = sa.make_url(deployment.url)
    with monkeypatch.context() as environment:
        environment.setenv("PGPASSWORD", PASSWORD)
        environment.setenv("PGOPTIONS", options)
        with (
            psycopg.connect(conninfo(url)) as db,
            pytest.raises(psycopg.errors.ReadOnlySqlTransaction),
        ):
            db.execute("CREATE TABLE t (i int)")


def test_a_wrong_password_is_one_line(deployment: Deployment) -> None:
    (deployment.folder / "db_password").write_text("wrong-one\n")
    code, output = deployment.run("create")
    assert code == 4
    assert len(output.strip().splitlines()) == 1
    assert "wrong-one" not in output


def test_a_missing_secret_is_one_line(deployment: Deployment) -> None:
    (deployment.folder / "db_password").unlink()
    code, output = deployment.run("worker")
    assert code == 4
    (line,) = output.strip().splitlines()
    assert "cannot read" in line
    assert "docs/guides/containers.md" in line


def test_a_gpu_worker_without_its_gpu_fails(deployment: Deployment) -> None:
    code, output = deployment.run("worker-gpu", GPU_DEVICES="cuda:99")
    assert code == 2
    assert "CUDA devices" in output
