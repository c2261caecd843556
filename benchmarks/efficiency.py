"""Do more workers do more work? Trials an hour of several workers over those of one.

    python -m benchmarks efficiency

Report A's MLP and CNN on two workers of one thread against one worker of one thread, taken in turn; and
64 workers on one PostgreSQL server whose trials sleep, against the time that their trials alone take.
"""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from benchmarks.common import postgres_urls, save, shown, spread, sqlite_urls, table
from benchmarks.simulated_search import FINGERPRINT, study_file
from benchmarks.simulated_search import supervisor as simulated
from search.leases import Leases
from search.slots import Slot
from search.storage import open_storage
from search.study import create_or_resume
from search.training.data import load_dataset
from search.workers import Supervisor
from studies import StudyFile, load_study_file, parse_study

ROUNDS, TRIALS_EACH = 3, 2
EPOCHS = {"A-mlp": 16, "A-cnn": 5}
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
    """From the first trial's start to the last one's end: start-up is left out."""
    storage = open_storage(url, create=True)
    fingerprint = load_dataset("bloodmnist").fingerprint
    study = create_or_resume(storage, "efficiency", study_of(baseline), fingerprint)
    slots = [Slot("cpu", "cpu", 1)] * n_workers
    Supervisor(Leases(storage, study), slots, n_workers * TRIALS_EACH).run()
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    storage.close()
    return 3600 * len(trials) / span(trials)


def span(trials: list[FrozenTrial]) -> float:
    starts, ends = zip(*((t.datetime_start, t.datetime_complete) for t in trials), strict=True)
    return (max(ends) - min(starts)).total_seconds()


def trained(baseline: str) -> dict[str, Any]:
    """Both numbers of workers in each round, in turn; the efficiency is taken within a round."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(ROUNDS):
        for n_workers, found in rates.items():
            with sqlite_urls() as fresh:
                found.append(trials_an_hour(fresh(), baseline, n_workers))
        print(baseline, {n: round(found[-1]) for n, found in rates.items()}, flush=True)
    efficiency = [two / one / 2 for one, two in zip(rates[1], rates[2], strict=True)]
    return {
        "what": baseline,
        "one": spread(rates[1]),
        "more": spread(rates[2]),
        "workers": 2,
        "efficiency": spread(efficiency),
    }


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
    results = [slept(), trained("A-mlp"), trained("A-cnn")]
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
