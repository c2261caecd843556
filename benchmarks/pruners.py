"""The project's pruner against Optuna's, on recorded curves, through real Optuna studies.

    python -m benchmarks.pruners

Each of 200 shuffles of the curves in benchmarks/curves.csv is searched in its order by 1 and by 8 simulated
workers: a trial costs its recorded seconds an epoch, reports its recorded values, and ends when the pruner
says so. Every pruner sees the same shuffles. Nothing is trained.
"""

from __future__ import annotations

import heapq
import os
import random
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.pruners import SuccessiveHalvingPruner as Halving
from optuna.trial import TrialState

from benchmarks.common import save, shown, spread, table
from benchmarks.curves import Curve, read
from search.pruning import FamilyPruner
from studies import load_study_file

N_SHUFFLES, WORKERS = 200, (1, 8)
NEAR = 0.003
TOP = 0.05
BUDGET = 0.25
"""Share of the epochs of all full curves at which regret is read."""

PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "none": lambda epochs: NopPruner(),
    "bloodsearch": lambda epochs: FamilyPruner(load_study_file("bloodmnist").pruner),
    "Optuna median": lambda epochs: MedianPruner(n_startup_trials=5, n_warmup_steps=1),
    "Optuna successive halving": lambda epochs: Halving(min_resource=1),
    "Optuna Hyperband": lambda epochs: HyperbandPruner(min_resource=1, max_resource=epochs),
}


@dataclass(slots=True)
class Searched:
    """One pass over a shuffle: what was spent when, and what became of the best."""

    ends: list[tuple[int, float, float]]
    """(epochs spent so far, simulated seconds, final value) at each completed trial's end."""
    pruned: set[int]
    epochs: int
    seconds: float


def search(curves: Sequence[Curve], pruner: BasePruner, n_workers: int) -> Searched:
    """Run all curves in order through an Optuna study, `n_workers` at a time."""
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0), pruner=pruner
    )
    queue = list(reversed(curves))
    found = Searched([], set(), 0, 0.0)
    # (simulated time, order, trial, its curve, epochs done); order keeps the heap off the trials
    heap: list[tuple[float, int, optuna.Trial, Curve, int]] = []

    def start(now: float, order: int) -> None:
        if queue:
            curve, trial = queue.pop(), study.ask()
            trial.set_user_attr("family", curve.family)
            heapq.heappush(heap, (now + curve.epoch_s, order, trial, curve, 0))

    for worker in range(n_workers):
        start(0.0, worker)
    while heap:
        now, worker, trial, curve, done = heapq.heappop(heap)
        if not curve.values:  # it diverged in its first epoch
            study.tell(trial, state=TrialState.PRUNED)
            start(now, worker)
            continue
        done += 1
        found.epochs += 1
        found.seconds = now
        trial.report(curve.values[done - 1], done)
        if done == len(curve.values) and curve.diverged:
            found.seconds += curve.epoch_s  # of the epoch in which it did
            study.tell(trial, state=TrialState.PRUNED)
            start(now + curve.epoch_s, worker)
        elif done == len(curve.values):
            study.tell(trial, curve.best)
            found.ends.append((found.epochs, now, curve.best))
            start(now, worker)
        elif trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            found.pruned.add(curve.number)
            start(now, worker)
        else:
            heapq.heappush(heap, (now + curve.epoch_s, worker, trial, curve, done))
    return found


def judge(curves: Sequence[Curve], found: Searched) -> dict[str, float]:
    """What a search of one shuffle cost and missed."""
    best = max(curve.best for curve in curves)
    near = [(epochs, seconds) for epochs, seconds, value in found.ends if value >= best - NEAR]
    budget = BUDGET * sum(len(curve.values) for curve in curves)
    within = [value for epochs, _, value in found.ends if epochs <= budget]
    n_top = max(1, round(TOP * len(curves)))
    top = sorted(curves, key=lambda curve: -curve.best)[:n_top]
    return {
        # a search that never comes near has spent all it had
        "epochs": near[0][0] if near else found.epochs,
        "seconds": near[0][1] if near else found.seconds,
        "found": float(bool(near)),
        "regret": best - max(within, default=0.0),
        "all epochs": found.epochs,
        "top pruned": sum(curve.number in found.pruned for curve in top) / n_top,
    }


def one(task: tuple[str, int, int]) -> dict[str, float]:
    name, n_workers, seed = task
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    curves = read()
    random.Random(seed).shuffle(curves)
    longest = max(len(curve.values) for curve in curves)
    return judge(curves, search(curves, PRUNERS[name](longest), n_workers))


def measure(name: str, n_workers: int, pool: ProcessPoolExecutor) -> dict[str, Any]:
    tasks = [(name, n_workers, seed) for seed in range(N_SHUFFLES)]
    found = list(pool.map(one, tasks, chunksize=5))
    return {key: [row[key] for row in found] for key in found[0]}


def run() -> None:
    rows, results = [], []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for n_workers in WORKERS:
            plain: dict[str, Any] = {}
            for name in PRUNERS:
                found = measure(name, n_workers, pool)
                plain = plain or found
                fewer = [a / b for a, b in zip(plain["epochs"], found["epochs"], strict=True)]
                spreads = {key: spread(values) for key, values in found.items()}
                results.append(
                    {"pruner": name, "workers": n_workers, "fewer": spread(fewer), **spreads}
                )
                rows.append(
                    [
                        name,
                        n_workers,
                        shown(spreads["epochs"], digits=0),
                        f"{statistics.median(fewer):.2f}",
                        f"{spreads['seconds']['median']:.0f}",
                        f"{statistics.mean(found['found']):.0%}",
                        f"{statistics.mean(found['regret']):.4f}",
                        f"{spreads['all epochs']['median']:.0f}",
                        f"{statistics.mean(found['top pruned']):.1%}",
                    ]
                )
                print(*rows[-1], flush=True)
    n_curves = len(read())
    columns = ["pruner", "workers", f"epochs to within {NEAR} of the best", "times fewer"]
    columns += ["simulated s", "came near", f"mean regret at {BUDGET:.0%} of all epochs"]
    table(
        f"{N_SHUFFLES} shuffles of {n_curves} recorded curves",
        [*columns, "epochs for all", f"of the top {TOP:.0%} pruned"],
        rows,
    )
    save("pruners", results)


if __name__ == "__main__":
    run()
