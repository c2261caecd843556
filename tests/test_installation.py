"""The wheel takes one name on a user's path, and works without dev packages beside a user's own `models`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built without a network from a copy of what is tracked."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    for name in filter(None, tracked.split("\0")):
        if name.startswith("tests/") or not (ROOT / name).exists():
            continue
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    code = "import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(folder)],
        cwd=source,
        capture_output=True,
        check=True,
    )
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_takes_one_name(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.endswith(".dist-info")} == {"bloodsearch"}
    for folder in ("search", "models", "studies"):
        files = [p for p in (ROOT / folder).rglob("*") if p.suffix in (".py", ".toml", ".jinja")]
        missing = {f"bloodsearch/{path.relative_to(ROOT)}" for path in files} - set(names)
        assert not missing
    assert "bloodsearch/py.typed" in names


def closure(requirements: list[str]) -> set[str]:
    """The names of the distributions that pip installs for `requirements`, in lower case."""
    names: set[str] = set()
    waiting = [Requirement(line) for line in requirements]
    while waiting:
        requirement = waiting.pop()
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name in names:
            continue
        names.add(name)
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # not needed on this platform
        extras = requirement.extras or {""}
        for needed in map(Requirement, lines):
            if needed.marker is None or any(needed.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(needed)
    return names


@pytest.fixture(scope="module")
def without_dev(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH: with it no process can import what only the `dev` extra installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extra = closure(project["optional-dependencies"]["dev"]) - closure(project["dependencies"])
    blocked = {
        module
        for module, names in metadata.packages_distributions().items()
        if all(re.sub(r"[-_.]+", "-", name).lower() in extra for name in names)
    }
    assert {"pytest", "medmnist", "torchvision", "pandas"} <= blocked
    assert not {"torch", "numpy", "optuna", "packaging"} & blocked
    folder = tmp_path_factory.mktemp("without-dev")
    (folder / "sitecustomize.py").write_text(
        "from importlib.machinery import PathFinder\n"
        f"BLOCKED = {sorted(blocked)!r}\n"
        "find = PathFinder.find_spec\n"
        "PathFinder.find_spec = staticmethod(\n"
        "    lambda name, *rest: None if name in BLOCKED else find(name, *rest)\n"
        ")\n"
    )
    return folder


def test_dev_packages_are_blocked(without_dev: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import pytest"],
        env={**os.environ, "PYTHONPATH": str(without_dev)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "No module named 'pytest'" in done.stderr


@pytest.mark.parametrize("command", ["--help", "doctor --help", "studies"])
def test_help_needs_no_dev_packages(without_dev: Path, command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "bloodsearch", *command.split()],
        env={**os.environ, "PYTHONPATH": str(without_dev)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_it_works_beside_a_users_own_models_studies_and_search(
    wheel: Path, without_dev: Path, tmp_path: Path
) -> None:
    installed, users = tmp_path / "installed", tmp_path / "users"
    zipfile.ZipFile(wheel).extractall(installed)
    for package in ("models", "studies"):
        (users / package).mkdir(parents=True)
        (users / package / "__init__.py").write_text("raise AssertionError('the user has this')")
    (users / "search.py").write_text("mine = 1\n")
    code = (
        "import search; assert search.mine == 1\n"
        "import bloodsearch.search.cli, bloodsearch.models, bloodsearch.studies\n"
        "print(bloodsearch.search.cli.__file__)\n"
    )
    environment = {**os.environ, "PYTHONPATH": f"{installed}:{without_dev}"}
    for args in (
        ["-c", code],
        ["-m", "bloodsearch", "studies"],
        [
            "-m",
            "bloodsearch",
            "optimize",
            "demo",
            "--dataset=synthetic",
            "--trials=1",
            "--workers=1",
        ],
    ):
        done = subprocess.run(
            [sys.executable, *args], cwd=users, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert args[0] != "-c" or done.stdout.startswith(str(installed))
