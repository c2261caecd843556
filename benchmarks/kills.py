"""kill -9 at random moments: of a worker, of the parent, of everything. Does the budget stay exact?

    python -m benchmarks kills

Searches of 60 sleeping trials with 4 workers, killed every second or so until 30 kills a back end,
started again whenever their parent is dead. Then a search whose PostgreSQL is stopped for 20 seconds.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from typing import Any

import optuna
import psutil
import sqlalchemy as sa
from optuna.trial import TrialState

from benchmarks.common import BACKENDS, postgres_server, save, table
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.study import load

N_TRIALS, N_WORKERS, N_KILLS, N_EPOCHS = 60, 4, 30, 5
OUTAGE_S = 20


def children(process: subprocess.Popen[bytes]) -> Any:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def search_under_fire(url: str, seed: int) -> dict[str, int]:
    """Counts of kills by kind and what the study looks like in the end."""
    rng = random.Random(seed)
    env = os.environ | {"SIM_EPOCHS": str(N_EPOCHS), "SIM_EPOCH_S": "0.4"}
    command = [sys.executable, "-m", "benchmarks.simulated_search", url, "under-fire"]
    command += [str(N_TRIALS), str(N_WORKERS)]
    kills = dict.fromkeys(("worker", "parent", "everything"), 0)
    parent = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
    while sum(kills.values()) < N_KILLS:
        time.sleep(rng.uniform(0.5, 2.5))
        if parent.poll() is not None:
            parent = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
            continue
        kind = rng.choices(list(kills), weights=(8, 2, 1))[0]
        workers = children(parent)
        if kind == "worker" and not workers:
            continue
        victims = [rng.choice(workers)] if kind == "worker" else [psutil.Process(parent.pid)]
        victims += workers if kind == "everything" else []
        for victim in victims:
            try:
                victim.kill()
            except psutil.NoSuchProcess:
                continue
        kills[kind] += 1
    parent.wait()
    subprocess.run(command, env=env, check=True, timeout=600)
    return {**kills, **judge(url)}


def search_through_an_outage() -> dict[str, int]:
    """A search whose database server is stopped for OUTAGE_S while trials run, and started again."""
    env = os.environ | {"SIM_EPOCHS": str(N_EPOCHS), "SIM_EPOCH_S": "0.4"}
    with postgres_server() as server:
        uri = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
        url = uri.render_as_string(hide_password=False)
        command = [sys.executable, "-m", "benchmarks.simulated_search", url, "under-fire"]
        command += [str(N_TRIALS), str(N_WORKERS)]
        search = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
        time.sleep(12)
        server.stop()
        time.sleep(OUTAGE_S)
        assert search.poll() is None, "the search ended while the database was away"
        server.start()
        code = search.wait(timeout=600)
        return {"exit code": code, **judge(url)}


def judge(url: str) -> dict[str, int]:
    storage = open_storage(url, create=False)
    trials = load(storage, "under-fire").trials
    storage.close()
    states = [trial.state for trial in trials]
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    plain = optuna.load_study(study_name="under-fire", storage=url)
    return {
        "off": len(complete) - N_TRIALS,
        "left running": states.count(TrialState.RUNNING),
        "left waiting": states.count(TrialState.WAITING),
        "failed as poison": states.count(TrialState.FAIL),
        "incomplete curves": sum(len(t.intermediate_values) != N_EPOCHS for t in complete),
        "equal configurations": len(complete) - len({repr(t.params) for t in complete}),
        "unreadable by Optuna": len(trials) - len(plain.trials),
    }


def run() -> None:
    rows, results = [], []
    for backend, urls in BACKENDS.items():
        with urls() as fresh:
            found = search_under_fire(fresh(), seed=1)
        results.append({"backend": backend, **found})
        rows.append([backend, *found.values()])
        print(results[-1], flush=True)
    columns = ["back end", *(f"kills: {kind}" for kind in ("worker", "parent", "everything"))]
    title = f"{N_TRIALS} trials asked, {N_WORKERS} workers, kill -9 at random moments"
    table(title, [*columns, *list(results[0])[4:]], rows)
    outage = search_through_an_outage()
    results.append({"backend": "postgres", "outage_s": OUTAGE_S, **outage})
    title = f"{N_TRIALS} trials asked, {N_WORKERS} workers, PostgreSQL stopped for {OUTAGE_S} s"
    table(title, list(outage), [list(outage.values())])
    save("kills", results)
