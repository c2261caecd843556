"""Do more workers do more work? Trials an hour of several workers over those of one.

    python -m benchmarks efficiency

Report A's MLP and CNN on two workers of one thread against one worker of one thread, taken in turn, and
beside them the same trainings in bare processes that know of no study: what two of these lose to each other
is the machine's. And 64 workers on one PostgreSQL server whose trials sleep, against the time that their
trials alone take.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from benchmarks.common import postgres_urls, save, shown, spread, sqlite_urls, table
from benchmarks.simulated_search import FINGERPRINT, study_file
from benchmarks.simulated_search import supervisor as simulated
from bloodsearch.search.data.load import load_dataset
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.study import create_or_resume
from bloodsearch.search.workers.leases import Leases
from bloodsearch.search.workers.slots import Slot
from bloodsearch.search.workers.supervisor import Supervisor
from bloodsearch.studies import StudyFile, load_study_file, parse_study

ROUNDS, TRIALS_EACH = 3, 3
EPOCHS = {"A-mlp": 6, "A-cnn": 2}
N_SLEEPERS, SLEEPS_EACH, SLEEP_EPOCHS, SLEEP_S = 64, 3, 20, 1.0


def study_of(baseline: str) -> StudyFile:
    """Trials that all train one of report A's configurations, with learning rates of their own."""
    found = next(b for b in load_study_file("report_a").baselines if b.name == baseline)
    lr = {"low": 0.9e-3, "high": 1.1e-3, "log": True}
    data: dict[str, Any] = {
        "name": "efficiency",
        "search": {"sampler": "random"},
        "training": {"epochs": EPOCHS[baseline], "final_epochs": 1},
        "pruner": {"name": "none"},
        "space": {**found.params, "lr": lr},
    }
    return parse_study(data, "efficiency")


def trials_an_hour(url: str, baseline: str, n_workers: int) -> float:
    """Of all workers together, each from one trial's start to the next one's."""
    storage = open_storage(url, create=True)
    fingerprint = load_dataset("bloodmnist").fingerprint
    study = create_or_resume(storage, "efficiency", study_of(baseline), fingerprint)
    slots = [Slot("cpu", "cpu", 1)] * n_workers
    Supervisor(Leases(storage, study), slots, n_workers * TRIALS_EACH).run()
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    storage.close()
    by_worker = in_sequence(trials)
    assert len(by_worker) == n_workers
    return 3600 * sum(rate(mine) for mine in by_worker)


def rate(mine: list[FrozenTrial]) -> float:
    """One worker's trials a second: from its first trial's start to its last one's."""
    starts = [times(trial)[0] for trial in mine]
    return (len(mine) - 1) / (starts[-1] - starts[0])


def in_sequence(trials: list[FrozenTrial]) -> list[list[FrozenTrial]]:
    """Trials by worker: each goes to the one that has been free for longest."""
    found: list[list[FrozenTrial]] = []
    for trial in sorted(trials, key=lambda t: times(t)[0]):
        free = [mine for mine in found if times(mine[-1])[1] <= times(trial)[0]]
        if free:
            min(free, key=lambda mine: times(mine[-1])[1]).append(trial)
        else:
            found.append([trial])
    return found


def times(trial: FrozenTrial) -> tuple[float, float]:
    """Start and end of a finished trial, in seconds."""
    assert trial.datetime_start is not None
    assert trial.datetime_complete is not None
    return trial.datetime_start.timestamp(), trial.datetime_complete.timestamp()


def span(trials: list[FrozenTrial]) -> float:
    return max(times(t)[1] for t in trials) - min(times(t)[0] for t in trials)


def bare_trials_an_hour(baseline: str, n_processes: int) -> float:
    """As `trials_an_hour`, without study, storage, leases and supervisor."""
    command = [sys.executable, "-m", "benchmarks.efficiency", "--child", baseline]
    environment = {**os.environ, **Slot("cpu", "cpu", 1).environment()}
    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, env=environment)
        for _ in range(n_processes)
    ]
    for process in processes:  # all have their data before one begins
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    seconds: list[float] = [json.loads(process.communicate()[0]) for process in processes]
    return 3600 * sum(TRIALS_EACH / each for each in seconds)


def child(baseline: str) -> None:
    """Train when told to, and say how many seconds it took."""
    import time

    import torch

    from bloodsearch.search.sampling.space import to_config
    from bloodsearch.search.training.device import to_device
    from bloodsearch.search.training.fit import fit

    torch.set_num_threads(1)
    data = to_device(load_dataset("bloodmnist"), torch.device("cpu"))
    params = {**dict(study_of(baseline).space), "lr": 1e-3}
    config = to_config(params, epochs=EPOCHS[baseline], patience=0)  # type: ignore[arg-type]
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    for seed in range(TRIALS_EACH):
        fit(config, data, seed=seed, on_epoch=lambda result: None)
    print(time.perf_counter() - started)


def trained(baseline: str) -> list[dict[str, Any]]:
    """Both numbers of workers in each round, in turn; the efficiency is taken within a round."""
    rates: dict[tuple[str, int], list[float]] = {
        (what, n): [] for what in ("workers", "bare processes") for n in (1, 2)
    }
    for _ in range(ROUNDS):
        for (what, n), found in rates.items():
            if what == "workers":
                with sqlite_urls() as fresh:
                    found.append(trials_an_hour(fresh(), baseline, n))
            else:
                found.append(bare_trials_an_hour(baseline, n))
        print(baseline, {key: round(found[-1]) for key, found in rates.items()}, flush=True)
    results = []
    for what in ("workers", "bare processes"):
        one, two = rates[what, 1], rates[what, 2]
        results.append(
            {
                "what": f"{baseline}, {what}",
                "one": spread(one),
                "more": spread(two),
                "workers": 2,
                "efficiency": spread([b / a / 2 for a, b in zip(one, two, strict=True)]),
            }
        )
    return results


def slept() -> dict[str, Any]:
    """Each worker's share of time spent in trials, from its first trial's start to its last one's end."""
    log = Path(tempfile.mkstemp(prefix="bs-claims-")[1])
    os.environ |= {
        "SIM_LOG": str(log),
        "SIM_EPOCHS": str(SLEEP_EPOCHS),
        "SIM_EPOCH_S": str(SLEEP_S),
    }
    with postgres_urls() as fresh:
        storage = open_storage(fresh(), create=True)
        study = create_or_resume(storage, "sleepers", study_file(), FINGERPRINT)
        simulated(storage, study, N_SLEEPERS * SLEEPS_EACH, N_SLEEPERS).run()
        trials = {t.number: t for t in study.get_trials(deepcopy=False)}
        storage.close()
    of_worker: defaultdict[str, list[FrozenTrial]] = defaultdict(list)
    for line in log.read_text().splitlines():
        number, pid = line.split()
        of_worker[pid].append(trials[int(number)])
    log.unlink()
    ideal = SLEEP_EPOCHS * SLEEP_S
    shares = [ideal * len(done) / span(done) for done in of_worker.values()]
    return {
        "what": f"trials that sleep {ideal:.0f} s, PostgreSQL",
        "one": spread([3600 / ideal]),
        "more": spread([3600 * len(of_worker) / ideal * sum(shares) / len(shares)]),
        "workers": len(of_worker),
        "efficiency": spread(shares),
    }


def run() -> None:
    results = [slept(), *trained("A-mlp"), *trained("A-cnn")]
    rows = [
        [
            r["what"],
            f"{r['one']['median']:.0f}",
            r["workers"],
            f"{r['more']['median']:.0f}",
            shown(r["efficiency"], digits=3),
        ]
        for r in results
    ]
    columns = ["trials", "an hour with 1 worker", "workers", "an hour with these", "efficiency"]
    table("Parallel efficiency: median (min .. max, n)", columns, rows)
    save("efficiency", results)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--child")
    given = parser.parse_args()
    run() if given.child is None else child(given.child)
