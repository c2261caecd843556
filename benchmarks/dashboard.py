"""What a visitor of the dashboard waits for, and what the process that owns a search pays for its notes.

    python -m benchmarks dashboard

The study has 3,000 finished trials, notes and pictures. The server is a process of its own. "first" requests
are sent as soon as it says that it listens, "again" after them; "refresh" is what an open page asks for
every few seconds. "start" is what happens before that line. All times are CPU times, of the server or of the
process that owns a search; on an idle machine a page takes about as long. Here a note is written after each
trial; a search writes at most every five seconds.
"""

from __future__ import annotations

import copy
import itertools
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from typing import Any

import numpy as np
import optuna
import psutil

from benchmarks.common import BACKENDS, save, shown, spread, table
from benchmarks.overhead import prefill
from bloodsearch.search.dashboard.pictures import trial_pictures
from bloodsearch.search.dashboard.publish import Publisher, publish
from bloodsearch.search.database.optuna_rows import write_system_attrs
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.env import ARTIFACTS
from bloodsearch.search.records import HIDDEN
from bloodsearch.search.study import data_of, load

N_TRIALS = 3_000
N_RUNS = 5
N_TOLD = 20
PORTS = itertools.count(8731)
ASKED = {
    "study list, first": "/api/studies",
    "study page, first": "/api/studies/1?after=0",
    "study list, again": "/api/studies",
    "study page, again": "/api/studies/1?after=0",
    "study page, refresh": f"/api/studies/1?after={N_TRIALS}",
}


def make_study(url: str) -> None:
    """Store a study as a search leaves it: with the long attributes of its trials, notes and pictures."""
    prefill(url, N_TRIALS)
    storage = open_storage(url, create=False)
    study = load(storage, "bench")
    long = {
        "confusion": (np.full((8, 8), 3) + 200 * np.eye(8, dtype=int)).tolist(),
        "per_class_f1": [0.912345] * 8,
        "train_losses": [0.512345] * 5,
        "val_losses": [0.512345] * 5,
        "config": {f"setting_{i}": 0.5 for i in range(30)},
        "versions": {"torch": "2.10.0", "optuna": "5.0.0", "bloodsearch": "0.2.0"},
    }
    with storage.engine.begin() as db:
        for trial in study.get_trials(deepcopy=False):
            write_system_attrs(db, trial._trial_id, {HIDDEN: long})
    storage.close()
    storage = open_storage(url, create=False)  # the trials in memory lack what was written
    publish(storage, load(storage, "bench"), on_message=sys.exit)
    storage.close()


def serve_and_ask(url: str) -> dict[str, float]:
    """Start a dashboard, send the requests, and return the seconds that the server computes for each."""
    port = next(PORTS)
    command = [sys.executable, "-P", "-m", "bloodsearch", "dashboard", "--storage", url]
    server = subprocess.Popen([*command, "--port", str(port)], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    process = psutil.Process(server.pid)
    try:
        if not re.search(f":{port}/ shows", line := server.stderr.readline()):
            sys.exit(line)
        seconds = {"start": cpu_time(process)}
        for name, path in ASKED.items():
            before = cpu_time(process)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
                answer.read()
            seconds[name] = cpu_time(process) - before
    finally:
        server.terminate()
        server.wait()
    return seconds


def cpu_time(process: psutil.Process) -> float:
    """Return the seconds that a process has computed."""
    times = process.cpu_times()
    return float(times.user + times.system)


def publishing(url: str) -> dict[str, list[float]]:
    """Return the milliseconds of CPU time that the owner of a search spends on each of N_TOLD trials."""
    storage = open_storage(url, create=False)
    study = load(storage, "bench")
    trials = study.get_trials(deepcopy=False)
    publisher = Publisher(storage, study, 2 * N_TRIALS, sys.exit)
    publisher.add(trials)
    publisher.close(pictures=False)
    found: dict[str, list[float]] = {}
    for name, first in {"an ordinary trial": 0.0, "a new best trial": 2.0}.items():
        for i in range(N_TOLD):
            trial = copy.copy(trials[i])
            trial.number, trial.values = N_TRIALS + i, [first + i / N_TRIALS]
            started = time.process_time()
            publisher.add([trial])
            publisher.close(pictures=False)
            found.setdefault(name, []).append(1000 * (time.process_time() - started))
    for trial in trials[:N_TOLD]:
        started = time.process_time()
        trial_pictures(trial, data_of(study))
        found.setdefault("its pictures", []).append(1000 * (time.process_time() - started))
    storage.close()
    return found


def run() -> None:
    """Measure each back end N_RUNS times."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    result: dict[str, Any] = {}
    rows, costs = [], []
    for backend, urls in BACKENDS.items():
        with urls() as fresh, tempfile.TemporaryDirectory() as folder:
            os.environ[ARTIFACTS] = folder
            url = fresh()
            make_study(url)
            found = [serve_and_ask(url) for _ in range(N_RUNS)]
            told = publishing(url)
        for name in found[0]:
            result[f"{backend}, {name}"] = value = spread([seconds[name] for seconds in found])
            rows.append([backend, name, shown(value, " s", 2)])
        for name, values in told.items():
            result[f"{backend}, {name}"] = value = spread(values)
            costs.append([backend, name, shown(value, " ms")])
    table(f"the server, at {N_TRIALS:,} trials", ["back end", "", "CPU time"], rows)
    table("the owner of a search, for each trial", ["back end", "", "CPU time"], costs)
    save("dashboard", result)
