"""docker-compose.yml, Dockerfile and .dockerignore: the schema, and the rules that it cannot know.

The schema is compose-spec's own, as the package check-jsonschema ships it (Apache-2.0).
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.containers.compose import FILE, ROOT, load, substitute

Services = dict[str, Any]

APP_SERVICES = ("create", "worker", "worker-gpu", "dashboard")


def validate(file: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    return subprocess.run(
        [*command, str(file)], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.fixture(scope="module")
def services() -> Services:
    services: Services = load({"HOME": "/home/me"})["services"]
    return services


def test_the_file_is_a_compose_file() -> None:
    found = validate(FILE)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize(
    ("right", "wrong", "named"),
    [
        ("restart: on-failure", "restarts: on-failure", "restarts"),  # an unknown key
        ("condition: service_healthy", "condition: healthy", "healthy"),
    ],
)
def test_a_broken_file_is_found(tmp_path: Path, right: str, wrong: str, named: str) -> None:
    text = FILE.read_text()
    assert right in text
    broken = tmp_path / "docker-compose.yml"
    broken.write_text(text.replace(right, wrong))
    found = validate(broken)
    assert found.returncode == 1
    assert f"'{named}'" in found.stdout


def test_ports_are_published_on_loopback_only(services: Services) -> None:
    published = {name: s["ports"] for name, s in services.items() if s.get("ports")}
    assert published == {"dashboard": ["127.0.0.1:8080:8080"]}
    assert not any("network_mode" in service for service in services.values())


def test_no_password_is_written_down(services: Services) -> None:
    for name, service in services.items():
        environment = service["environment"]
        secret_file = "/run/secrets/db_password"
        variable = "POSTGRES_PASSWORD_FILE" if name == "db" else "DB_PASSWORD_FILE"
        assert environment[variable] == secret_file
        assert service["secrets"] == ["db_password"]
        others = {k: v for k, v in environment.items() if k != variable}
        assert not any("password" in f"{k} {v}".lower() for k, v in others.items())
    compose, dockerfile = FILE.read_text(), (ROOT / "Dockerfile").read_text()
    # no user:password@ in any URL, no value given to a variable or key that names a password
    assert not re.search(r"://[^/\s@]*:[^/\s@]*@", compose + dockerfile)
    assert set(re.findall(r"\bPGPASSWORD\b.*", compose)) == {
        'PGPASSWORD=$$(cat "$$DB_PASSWORD_FILE")',
        "PGPASSWORD",
    }
    assert "password" not in dockerfile.lower()


def test_the_secret_lies_outside_the_repository() -> None:
    file = load({"HOME": "/home/me"})["secrets"]["db_password"]["file"]
    assert file == "/home/me/.config/bloodsearch/db_password"
    moved = load({"HOME": "/home/me", "BLOODSEARCH_SECRETS": "/safe"})
    assert moved["secrets"]["db_password"]["file"] == "/safe/db_password"


def test_workers_start_after_the_study_is_made(services: Services) -> None:
    assert "pg_isready" in services["db"]["healthcheck"]["test"]
    assert services["create"]["depends_on"] == {"db": {"condition": "service_healthy"}}
    assert "restart" not in services["create"]
    for name in ("worker", "worker-gpu", "dashboard"):
        assert services[name]["depends_on"] == {
            "db": {"condition": "service_healthy"},
            "create": {"condition": "service_completed_successfully"},
        }


def test_workers_can_be_scaled_and_stopped(services: Services) -> None:
    from bloodsearch.search.workers.supervisor import DRAIN_S

    for name in ("worker", "worker-gpu"):
        worker = services[name]
        # a fixed name or port would allow one container only
        assert not {"container_name", "ports", "hostname"} & set(worker)
        assert worker["restart"] == "on-failure"
        assert int(worker["stop_grace_period"].removesuffix("s")) > DRAIN_S


def test_the_gpu_worker_is_asked_for(services: Services) -> None:
    assert {n: s["profiles"] for n, s in services.items() if "profiles" in s} == {
        "worker-gpu": ["gpu"]
    }
    (device,) = services["worker-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["driver"] == "nvidia"
    assert "gpu" in device["capabilities"]


def test_data_cannot_be_changed(services: Services) -> None:
    for name in ("create", "worker", "worker-gpu"):
        data, checkpoints = services[name]["volumes"]
        assert (data["source"], data["target"]) == ("/home/me/.medmnist", "/data")
        assert data["read_only"] is True
        assert checkpoints == "checkpoints:/var/lib/bloodsearch"
    assert services["db"]["volumes"] == ["db:/var/lib/postgresql"]


def test_services_run_with_few_rights(services: Services) -> None:
    for name in APP_SERVICES:
        assert services[name]["cap_drop"] == ["ALL"]
        assert "user" not in services[name]  # the image's, which is not root
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.findall(r"^USER (\S+)", dockerfile, re.MULTILINE) == ["10001"]


def test_the_image_gets_what_the_dockerfile_copies_and_nothing_else() -> None:
    copied = set()
    for sources in re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
        copied |= set(sources.split())
    ignore = (ROOT / ".dockerignore").read_text().split("\n")
    rules = [line for line in ignore if line and not line.startswith("#")]
    assert rules[0] == "*"
    assert {line[1:] for line in rules if line.startswith("!")} == copied
    missing = [name for name in copied if not (ROOT / name).exists()]
    assert not missing


def test_variables_are_replaced_as_compose_does() -> None:
    assert substitute("${A:-${B:-c}}/d", {}) == "c/d"
    assert substitute("${A:-${B:-c}}/d", {"B": "b"}) == "b/d"
    assert substitute("${A:-x} $$HOME $$(id)", {"A": ""}) == "x $HOME $(id)"
    for text in ("$HOME", "${HOME}", "${A:?no}"):
        with pytest.raises(ValueError, match=r"\$"):
            substitute(text, {})
