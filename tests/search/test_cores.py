"""How many cores a process may use, in a container as outside of one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bloodsearch.search import cores
from bloodsearch.search.cores import core_count


@pytest.mark.parametrize(
    ("text", "n_cores"), [("150000 100000", 2), ("100000 100000", 1), ("50000 100000", 1)]
)
def test_container_quota(tmp_path: Path, text: str, n_cores: int) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert cores._quota(tmp_path / "cpu.max") == n_cores


def test_no_container_quota(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("max 100000")
    assert cores._quota(tmp_path / "cpu.max") == sys.maxsize
    assert cores._quota(tmp_path / "missing") == sys.maxsize


def test_a_quota_below_the_cores_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "_quota", lambda path: 1)
    assert core_count() == 1
