"""A search that a test starts as a command of its own, watches in its database, and kills."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.trial import TrialState

from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.study import load

N_EPOCHS = 12
STUDY = """
name = "chaos"
[search]
seed = 3
[training]
epochs = 12
final_epochs = 2
[pruner]
name = "none"
[space]
arch = "cnn"
optimizer = "adamw"
lr = { low = 1e-3, high = 1e-2, log = true }
schedule = "one_cycle"
augment = "dihedral"
shift = 1
batch_size = 1024
cnn_width = [3, 4]
cnn_norm = true
cnn_head = "max"
cnn_dropout = 0.2
"""


_started: list[subprocess.Popen[bytes]] = []


def start(
    folder: Path,
    storage: str,
    n_trials: int,
    workers: int = 1,
    checkpoints: Path | None = None,
    *,
    study: str = STUDY,
    device: str = "cpu",
) -> subprocess.Popen[bytes]:
    """Start the search on the synthetic set. What it says is in output.log, in `folder`."""
    (folder / "chaos.toml").write_text(study)
    command = [sys.executable, "-P", "-m", "bloodsearch", "optimize", "chaos.toml"]
    command += ["--trials", str(n_trials), "--workers", str(workers), "--dataset", "synthetic"]
    command += ["--devices", device]
    if device != "cpu":
        command += ["--workers-per-device", str(workers)]
    env = {
        **os.environ,
        "BLOODSEARCH_STORAGE": storage,
        "BLOODSEARCH_CHECKPOINTS": str(checkpoints or folder / "checkpoints"),
    }
    with (folder / "output.log").open("ab") as output:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=output, stderr=output)
    _started.append(process)
    return process


def kill_all() -> None:
    """Kill what a failed test may have left running."""
    while _started:
        process = _started.pop()
        process.kill()
        process.wait()


def trials_of(url: str) -> Iterator[Any]:
    """A function that gives the study's trials, without failing before it exists.

    The storage is opened here and now: on a busy machine that takes as long as some epochs, and a test
    that opened it while a trial ran came too late to see it run.
    """
    storage = open_storage(url, create=True)

    def trials() -> list[optuna.trial.FrozenTrial]:
        try:
            return load(storage, "chaos-synthetic").trials
        except Exception:
            return []

    yield trials
    storage.close()


def wait_for(condition: Any, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def workers_of(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return [
            p for p in psutil.Process(process.pid).children() if "worker-process" in p.cmdline()
        ]
    except psutil.NoSuchProcess:
        return []


def in_training(study: Any) -> bool:
    """Whether a trial is under way and has a few epochs behind it."""
    return any(t.state is TrialState.RUNNING and len(t.intermediate_values) >= 2 for t in study())
