"""The project's pruner against Optuna's, on recorded curves, through real Optuna studies.

    python -m benchmarks.pruners

Each of 200 shuffles of the curves in benchmarks/curves.csv is searched in its order by 1 and by 8 simulated
workers: a trial costs its recorded seconds an epoch, reports its recorded values, and ends when the pruner
says so. Every pruner sees the same shuffles, ours with its audit (one trial in twenty runs on). Nothing is
trained. Near the best is within .003 of it. What it takes to come there is the expected running time (Hansen
et al., COCO, arXiv 1603.08785): all that was spent, up to there or to the end, by shuffle that came there.
Regret is read at a quarter of the time that all curves take.
Hyperband is told the longest schedule, an MLP's, because it knows one for all trials.
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

from benchmarks.common import save, spread, table
from benchmarks.curves import Curve, read
from bloodsearch.search.pruning.pruner import FamilyPruner
from bloodsearch.studies import load_study_file

N_SHUFFLES, WORKERS = 200, (1, 8)
NEAR = 0.003
TOP = 0.05
CHOSEN_ON = 100
"""Our settings were chosen on the curves before this number; the second table has only those after it."""
BUDGET = 0.25
"""Share of the simulated time of all full curves at which regret is read."""
STUDY = load_study_file("bloodmnist")


def ours(**settings: Any) -> FamilyPruner:
    return FamilyPruner(
        STUDY.pruner.model_copy(update=settings), epochs_of=STUDY.training.epochs_of
    )


PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "none": lambda epochs: NopPruner(),
    "bloodsearch": lambda epochs: ours(),
    "bloodsearch, family": lambda epochs: ours(name="family", warmup_epochs=2, mlp_warmup_epochs=5),
    "Optuna median": lambda epochs: MedianPruner(n_startup_trials=5, n_warmup_steps=1),
    "Optuna successive halving": lambda epochs: Halving(min_resource=1),
    "Optuna Hyperband": lambda epochs: HyperbandPruner(min_resource=1, max_resource=epochs),
}


@dataclass(slots=True)
class Searched:
    """One pass over a shuffle: what was spent when, and what became of the best."""

    ends: list[tuple[int, float, float]]
    """(epochs spent so far, simulated seconds, value) at each completed trial's end."""
    pruned: set[int]
    epochs: int
    seconds: float


def search(
    curves: Sequence[Curve], pruner: BasePruner, n_workers: int, audited: set[int]
) -> Searched:
    """Run all curves in order through an Optuna study, `n_workers` at a time.

    Trials whose configuration is `audited` run on, whatever the pruner says.
    """
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
        trial.set_user_attr("train_losses", curve.train_losses[:done])
        trial.set_user_attr("val_losses", curve.val_losses[:done])
        if done == len(curve.values) and curve.diverged:
            found.seconds += curve.epoch_s  # of the epoch in which it did
            study.tell(trial, state=TrialState.PRUNED)
            start(now + curve.epoch_s, worker)
        elif done == len(curve.values):
            study.tell(trial, curve.best)
            found.ends.append((found.epochs, now, curve.best))
            start(now, worker)
        elif trial.should_prune() and curve.number not in audited:
            study.tell(trial, state=TrialState.PRUNED)
            found.pruned.add(curve.number)
            start(now, worker)
        else:
            heapq.heappush(heap, (now + curve.epoch_s, worker, trial, curve, done))
    return found


def judge(curves: Sequence[Curve], found: Searched, n_workers: int) -> dict[str, float]:
    """What a search of one shuffle cost and missed."""
    best = max(curve.best for curve in curves)
    near = [(epochs, seconds) for epochs, seconds, value in found.ends if value >= best - NEAR]
    budget = BUDGET * sum(curve.epoch_s * len(curve.values) for curve in curves) / n_workers
    within = [value for _, seconds, value in found.ends if seconds <= budget]
    n_top = max(1, round(TOP * len(curves)))
    top = sorted(curves, key=lambda curve: -curve.best)[:n_top]
    return {
        # a search that never comes near has spent all that it had
        "epochs": near[0][0] if near else found.epochs,
        "seconds": near[0][1] if near else found.seconds,
        "found": float(bool(near)),
        "regret": best - max(within, default=0.0),
        "all epochs": found.epochs,
        "all seconds": found.seconds,
        "top pruned": sum(curve.number in found.pruned for curve in top) / n_top,
    }


def one(task: tuple[str, int, int, int]) -> dict[str, float]:
    name, n_workers, since, seed = task
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    curves, order = [curve for curve in read() if curve.number >= since], random.Random(seed)
    order.shuffle(curves)
    drawn = {curve.number for curve in curves if order.random() < STUDY.pruner.audit}
    pruner = PRUNERS[name](max(curve.epochs for curve in curves))
    audited = drawn if isinstance(pruner, FamilyPruner) else set[int]()
    return judge(curves, search(curves, pruner, n_workers, audited), n_workers)


def measure(name: str, n_workers: int, since: int, pool: ProcessPoolExecutor) -> dict[str, Any]:
    tasks = [(name, n_workers, since, seed) for seed in range(N_SHUFFLES)]
    found = list(pool.map(one, tasks, chunksize=5))
    return {key: [row[key] for row in found] for key in found[0]}


def expected(spent: list[float], found: list[float]) -> float:
    """Expected running time: what all shuffles spent, by one that came near."""
    return sum(spent) / sum(found) if any(found) else float("inf")


def compare(
    names: Sequence[str], n_workers: int, since: int, pool: ProcessPoolExecutor
) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """Rows of the table and results, each pruner beside the first."""
    rows, results, first = [], [], dict[str, float]()
    for name in names:
        found = measure(name, n_workers, since, pool)
        cost = {key: expected(found[key], found["found"]) for key in ("epochs", "seconds")}
        cost |= {key: statistics.mean(found[key]) for key in ("all epochs", "all seconds")}
        first = first or cost
        shown = [
            f"{value:.0f} ({first[key] / value:.2f} x)" if value < float("inf") else "never"
            for key, value in cost.items()
        ]
        regret, top = statistics.mean(found["regret"]), statistics.mean(found["top pruned"])
        error = statistics.stdev(found["regret"]) / len(found["regret"]) ** 0.5
        rows.append(
            [
                name,
                str(n_workers),
                *shown[:2],
                f"{statistics.mean(found['found']):.0%}",
                f"{regret:.4f} ({error:.4f})",
                *shown[2:],
                f"{top:.1%}",
            ]
        )
        kept = {key: value if value < float("inf") else None for key, value in cost.items()}
        spreads = {key: spread(values) for key, values in found.items()}
        results.append(
            {"pruner": name, "workers": n_workers, "since": since, "mean": kept, "of": spreads}
        )
        print(*rows[-1], flush=True)
    return rows, results


def run() -> None:
    columns = ["pruner", "workers", f"epochs to within {NEAR} of the best", "seconds to there"]
    columns += ["come there", f"regret at {BUDGET:.0%} of the time (se)", "epochs for all"]
    columns += ["seconds for all", f"of the top {TOP:.0%} pruned"]
    n_curves, results = len(read()), []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        rows = []
        for n_workers in WORKERS:
            more, found = compare(list(PRUNERS), n_workers, 0, pool)
            rows += more
            results += found
        table(
            f"{N_SHUFFLES} shuffles of {n_curves} recorded curves (times fewer than without pruning)",
            columns,
            rows,
        )
        rows, found = compare(list(PRUNERS), 1, CHOSEN_ON, pool)
        table(
            f"the same of the {n_curves - CHOSEN_ON} curves that our settings were not chosen on",
            columns,
            rows,
        )
    save("pruners", results + found)


if __name__ == "__main__":
    run()
