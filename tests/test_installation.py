"""The wheel takes one name on a user's path, and works beside a user's own `models` and `search`."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

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


def test_it_works_beside_a_users_own_models_studies_and_search(wheel: Path, tmp_path: Path) -> None:
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
    environment = {**os.environ, "PYTHONPATH": str(installed)}
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
