"""What Tab offers in a shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from report_support import fake_trial
from tests_support import tiny

from bloodsearch.search.database.storage import Storage

pytestmark = pytest.mark.slow


def offered(words: str, **environment: str) -> list[str]:
    """Ask as bash's completion does, with the cursor behind `words`."""
    position = len(words.split()) - (not words.endswith(" "))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "bloodsearch"],
        env={
            **os.environ, "COMP_WORDS": words, "COMP_CWORD": str(position),
            "_BLOODSEARCH_COMPLETE": "complete_bash", **environment,
        },
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert not done.stderr
    return done.stdout.split()


def test_commands_options_and_choices() -> None:
    assert offered("bloodsearch lead") == ["leaderboard"]
    assert "--trials" in offered("bloodsearch optimize --tr")
    assert offered("bloodsearch optimize --dataset syn") == ["synthetic"]


def test_data_sets_by_name_and_by_file(tmp_path: Path) -> None:
    (tmp_path / "cells.npz").touch()
    assert "dermamnist" in offered("bloodsearch optimize --dataset derm")
    assert offered(f"bloodsearch optimize --dataset {tmp_path}/ce") == [f"{tmp_path}/cells.npz"]


def test_studies_and_trials(storage_url: str, storage: Storage) -> None:
    study = tiny(storage)
    for number, value in enumerate((0.5, 0.75, None)):
        fake_trial(study, number, value)
    where = {"BLOODSEARCH_STORAGE": storage_url}
    assert offered("bloodsearch status ti", **where) == ["tiny"]
    assert {"bloodmnist", "tiny"} <= set(offered("bloodsearch report ", **where))
    assert offered(f"bloodsearch show --name tiny --storage {storage_url} ") == ["1", "0", "2"]


def test_no_storage_offers_what_ships_and_makes_no_file(tmp_path: Path) -> None:
    where = {"BLOODSEARCH_STORAGE": f"sqlite:///{tmp_path / 'none.db'}"}
    assert offered("bloodsearch status bloodm", **where) == ["bloodmnist"]
    assert offered("bloodsearch show ", **where) == []
    assert not list(tmp_path.glob("none.db*"))
    assert offered("bloodsearch status dem", BLOODSEARCH_STORAGE="nonsense") == ["demo"]


def test_the_documented_command_installs_it(tmp_path: Path) -> None:
    # the shell is the one that runs the command; `exit` keeps bash from replacing itself by the command
    line = f'"{sys.executable}" -P -m bloodsearch --install-completion; exit $?'
    done = subprocess.run(
        ["bash", "-c", line],
        env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("_BLOODSEARCH_COMPLETE" in path.read_text() for path in files)
