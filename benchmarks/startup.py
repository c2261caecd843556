"""How long a command takes to answer, and `optimize` to its first training step.

python -m benchmarks startup
"""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import optuna

from benchmarks.common import save, shown, spread, table
from bloodsearch.search.records import trial_record

N_RUNS = 5
PROGRAM = [sys.executable, "-P", "-m", "bloodsearch"]
# One trial of one epoch: the time that it trained is known and taken away.
ONE_TRIAL = [
    "optimize",
    "report_b",
    "--trials",
    "1",
    "--workers",
    "1",
    "--set",
    "training.epochs=1",
]


def seconds(arguments: list[str], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run([*PROGRAM, *arguments], env=environment, check=True, capture_output=True)
    return time.perf_counter() - started


def until_training(folder: Path) -> float:
    """Seconds from the command to the first training step: to the trial's end, less its training."""
    url = f"sqlite:///{folder / 'bench.db'}"
    environment = {**os.environ, "BLOODSEARCH_STORAGE": url}
    started = datetime.datetime.now()
    subprocess.run([*PROGRAM, *ONE_TRIAL], env=environment, check=True, capture_output=True)
    study = optuna.load_study(study_name="report_b", storage=url)
    trial = study.get_trials(deepcopy=False)[0]
    assert trial.datetime_complete is not None
    whole = (trial.datetime_complete - started).total_seconds()
    return whole - (trial_record(trial).train_seconds or 0.0)


def run() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    found: dict[str, list[float]] = {"--help": [], "status": [], "optimize": []}
    for _ in range(N_RUNS):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            found["optimize"].append(until_training(folder))
            url = f"sqlite:///{folder / 'bench.db'}"
            environment = {**os.environ, "BLOODSEARCH_STORAGE": url}
            found["--help"].append(seconds(["--help"], environment))
            found["status"].append(seconds(["status", "report_b"], environment))
    result = {key: spread(values) for key, values in found.items()}
    names = {"optimize": "optimize, to the first training step"}
    rows = [[names.get(key, key), shown(value, " s", 2)] for key, value in result.items()]
    table("start-up", ["command", "seconds"], rows)
    save("startup", result, by_processor=True)
