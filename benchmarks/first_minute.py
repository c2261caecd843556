"""How long a search takes to a model as good as hand-written Optuna's after 53 minutes.

    python -m benchmarks first_minute

Seconds from typing `optimize` to the end of the first trial with the validation macro-F1 of what `python -m
benchmarks plain_optuna` found: its median over five seeds. Needs a quiet machine. The search is then
interrupted, and nothing is tested.
"""

from __future__ import annotations

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.common import result_path, save, shown, spread, table

SEEDS = 5
LIMIT_S = 600
COMMANDS = {
    "optimize --trials 100": ["--trials", "100"],
    "optimize --minutes 20": ["--minutes", "20"],
}
_TRIAL = re.compile(r"^trial .*?  (?:mlp|cnn)  (0\.\d{4}) ")


def target() -> float:
    """Return the median of the stored validation scores, as printed."""
    stored = json.loads(result_path("plain_optuna").read_text())["result"]
    return round(float(statistics.median(stored["validation"])), 4)


def seconds(options: list[str], seed: int, wanted: float) -> tuple[float, int]:
    """Return the seconds to the score `wanted`, and the number of trials that had finished."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/search.db"
        command = [sys.executable, "-P", "-m", "bloodsearch", "optimize", *options]
        started = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--seed", str(seed)],
            env={**os.environ, "BLOODSEARCH_STORAGE": url, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        n_trials = 0
        try:
            for line in process.stdout:
                n_trials += line.startswith("trial ")
                if (found := _TRIAL.match(line)) and float(found[1]) >= wanted:
                    return time.perf_counter() - started, n_trials
                if time.perf_counter() - started > LIMIT_S:
                    break
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate()
    raise AssertionError(f"no trial reached {wanted} in {LIMIT_S} s")


def run() -> None:
    result: dict[str, Any] = {}
    wanted = target()
    rows = []
    for name, options in COMMANDS.items():
        found = [seconds(options, seed, wanted) for seed in range(SEEDS)]
        result[name] = {"seconds": spread([s for s, _ in found]), "trials": [n for _, n in found]}
        trials = ", ".join(str(n) for _, n in found)
        rows.append([name, shown(result[name]["seconds"], " s", 1), trials])
    columns = ["command", f"seconds to {wanted} on validation", "trials finished by then"]
    table("from typing to the first good model", columns, rows)
    save("first_minute", result, by_processor=True)
