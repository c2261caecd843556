"""Kills on the ladder: no training is lost or doubled, and the same winner wins."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState
from running_search import wait_for, workers_of
from tests_support import small_set

from bloodsearch.search.database.storage import Storage, open_storage
from bloodsearch.search.errors import StorageError
from bloodsearch.search.study import load

STUDY = """
name = "climb"
[search]
seed = 3
[training]
epochs = 1
final_epochs = 40
[ladder]
rungs = [{ epochs = 30, trials = 3 }]
finalists = 2
[pruner]
name = "none"
[space]
arch = "mlp"
optimizer = "adamw"
lr = { low = 1e-3, high = 1e-2, log = true }
batch_size = 1024
mlp_width = [8, 12, 16]
"""
REPLICATES = 2
RUNGS = {"climb-synthetic-rung-2": 3, "climb-synthetic-finals": 3}
"""Trainings of each rung: of two finalists one leaves after the first seed.

A training must last several of `wait_for`'s looks: 30 epochs take 0.7 s, and 4 epochs took 0.1 s and came
and went between two looks.
"""


def command(folder: Path, url: str, *arguments: str) -> subprocess.Popen[bytes]:
    env = {
        **os.environ,
        "BLOODSEARCH_STORAGE": url,
        "BLOODSEARCH_CHECKPOINTS": str(folder / "kept"),
    }
    program = [sys.executable, "-P", "-m", "bloodsearch", *arguments]
    with (folder / "output.log").open("ab") as output:
        return subprocess.Popen(program, cwd=folder, env=env, stdout=output, stderr=output)


def final_eval(folder: Path, url: str) -> subprocess.Popen[bytes]:
    given = ("climb-synthetic", "--workers", "1", "--replicates", str(REPLICATES), "--out", "final")
    return command(folder, url, "final-eval", *given)


def states(storage: Storage, name: str) -> list[TrialState]:
    try:
        return [trial.state for trial in load(storage, name).get_trials(deepcopy=False)]
    except StorageError:  # the rung has not begun
        return []


def result(folder: Path) -> dict[str, Any]:
    (path,) = (folder / "final").rglob("result.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.xdist_group("chaos_ladder")
def test_kills_on_every_rung_change_nothing(tmp_path: Path) -> None:
    with small_set():
        undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
        undisturbed.mkdir()
        (undisturbed / "climb.toml").write_text(STUDY)
        urls = {folder: f"sqlite:///{folder / 'x.db'}" for folder in (undisturbed, killed)}
        asked = ("optimize", "climb.toml", "--trials", "4", "--workers", "1")
        search = command(undisturbed, urls[undisturbed], *asked, "--dataset", "synthetic")
        assert search.wait(120) == 0
        shutil.copytree(undisturbed, killed)
        assert final_eval(undisturbed, urls[undisturbed]).wait(180) == 0
        url = urls[killed]
        storage = open_storage(url, create=False)
        with final_eval(killed, url) as process:
            try:
                for rung in RUNGS:
                    wait_for(lambda rung=rung: TrialState.RUNNING in states(storage, rung))
                    for worker in workers_of(process):
                        worker.kill()
            finally:
                process.kill()
        assert final_eval(killed, url).wait(180) == 0
        for rung, n in RUNGS.items():
            assert states(storage, rung) == [TrialState.COMPLETE] * n
        storage.close()
        wanted, found = result(undisturbed), result(killed)
        for key in ("trial", "params", "seeds", "val_macro_f1", "test_macro_f1"):
            assert found[key] == wanted[key], key
