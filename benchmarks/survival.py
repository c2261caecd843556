"""A real search on the real data under random kill -9, then its final evaluation.

    python -m benchmarks survival

`bloodsearch optimize --trials 100 --workers 2` is killed 12 times at random moments (workers, the
command itself, everything at once) and started again whenever it is dead, until it ends by itself.
With $BENCH_FOLDER the benchmark itself goes on where it was interrupted: the kills are kept there.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.trial import TrialState

from benchmarks.common import save, table
from benchmarks.kills import children
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.study import load

N_TRIALS, N_WORKERS, N_KILLS = 100, 2, 12
GAP_S = (60.0, 210.0)


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "bloodsearch", *arguments]
    with (folder / "output.log").open("ab") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)


def optimize(folder: Path) -> subprocess.Popen[bytes]:
    return start(folder, "optimize", "--trials", str(N_TRIALS), "--workers", str(N_WORKERS))


def kill_one(rng: random.Random, parent: subprocess.Popen[bytes]) -> str | None:
    """Kill a worker, the command or everything; None if there was nothing to kill."""
    kind = rng.choices(("worker", "parent", "everything"), weights=(8, 3, 1))[0]
    workers = children(parent)
    if not workers or parent.poll() is not None:
        return None
    victims = [rng.choice(workers)] if kind == "worker" else [psutil.Process(parent.pid)]
    for victim in victims + (workers if kind == "everything" else []):
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            continue
    return kind


def survive(folder: Path, seed: int) -> dict[str, Any]:
    """Kills by kind, after the search ended by itself."""
    rng, started = random.Random(seed), time.monotonic()
    record = folder / "kills.log"  # lines of "SECONDS s  killed: KIND"
    lines = record.read_text().splitlines() if record.exists() else []
    kills = Counter(line.split("killed: ")[1] for line in lines)
    parent = optimize(folder)
    next_kill = started + rng.uniform(*GAP_S)
    while True:
        time.sleep(1)
        code = parent.poll()
        if code == 0:
            break
        if code is not None:
            if code > 0:
                raise RuntimeError(f"the search ended with exit {code}, see {folder}/output.log")
            parent = optimize(folder)
        if kills.total() < N_KILLS and time.monotonic() >= next_kill:
            if kind := kill_one(rng, parent):
                kills[kind] += 1
                line = f"{time.monotonic() - started:6.0f} s  killed: {kind}"
                print(line, flush=True)
                with record.open("a") as log:
                    log.write(line + "\n")
            next_kill = time.monotonic() + rng.uniform(*GAP_S)
    return {f"kill -9 of: {kind}": n for kind, n in sorted(kills.items())}


def judge(folder: Path) -> dict[str, Any]:
    url = f"sqlite:///{folder / 'bloodsearch.db'}"
    storage = open_storage(url, create=False)
    name = "bloodmnist"
    trials = load(storage, name).trials
    storage.close()
    states = Counter(trial.state for trial in trials)
    plain = optuna.load_study(study_name=name, storage=url).trials
    complete = [t for t in trials if t.state is TrialState.COMPLETE]
    return {
        "complete": states[TrialState.COMPLETE],
        "pruned": states[TrialState.PRUNED],
        "failed": states[TrialState.FAIL],
        "left running or waiting": states[TrialState.RUNNING] + states[TrialState.WAITING],
        "incomplete curves": sum(
            len(t.intermediate_values) != t.user_attrs["epochs"] for t in complete
        ),
        "read by Optuna alone": len(plain),
        "best validation macro-F1": round(max(t.value or 0.0 for t in complete), 4),
        "hours from first start to last end": round(_hours(trials), 2),
    }


def _hours(trials: list[optuna.trial.FrozenTrial]) -> float:
    starts = [t.datetime_start for t in trials if t.datetime_start]
    ends = [t.datetime_complete for t in trials if t.datetime_complete]
    return (max(ends) - min(starts)).total_seconds() / 3600


def run() -> None:
    if not os.environ.get("BLOODSEARCH_DATA"):
        sys.exit("set BLOODSEARCH_DATA to the folder with the real bloodmnist.npz")
    folder = Path(os.environ.get("BENCH_FOLDER") or tempfile.mkdtemp(prefix="bs-survival-"))
    folder.mkdir(exist_ok=True)
    print(f"in {folder}", flush=True)
    found = survive(folder, seed=1)
    found |= judge(folder)
    started = time.monotonic()
    command = ["final-eval", "--workers", str(N_WORKERS), "--replicates", "2", "--finalists", "1"]
    if code := start(folder, *command).wait():
        raise RuntimeError(f"the final evaluation ended with exit {code}, see {folder}/output.log")
    result = json.loads((folder / "final" / "bloodmnist" / "result.json").read_text())
    macro = result["test_macro_f1"]
    found["final-eval, seconds"] = round(time.monotonic() - started)
    values = ", ".join(f"{value:.4f}" for value in macro["values"])
    found["test macro-F1 of its replicates"] = values
    found["openings of the test split"] = result["test_openings"]
    table("100 trials under kill -9", ["what", "found"], [list(map(str, p)) for p in found.items()])
    save("survival", found)
