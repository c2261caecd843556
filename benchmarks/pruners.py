"""The project's pruners against Optuna's, on recorded curves, through real Optuna studies.

    python -m benchmarks pruners

Each shuffle of the curves in benchmarks/curves.csv is searched in its order by simulated workers: a trial
costs its recorded seconds per epoch, reports its recorded values, and ends when the pruner says so. Every
pruner sees the same shuffles. Those of bloodsearch run with their audit (one trial in twenty is never
pruned). Nothing is trained.

The settings of every pruner are chosen in the same way: of all combinations in GRIDS, the one that needs the
fewest expected seconds to come near the best of random subsets of the curves before number CHOSEN_ON, with
one worker. (Subsets have different best curves. Settings chosen for a single best curve prune most others.)
The curves from CHOSEN_ON on are the comparison.

Near the best is within NEAR of it. The expected time to come there is the expected running time of Hansen et
al. (COCO, arXiv 1603.08785): all time that all shuffles spent, until they came near the best or ended,
divided by the number of shuffles that came near. Regret is the distance from the best after a quarter of the
time that all curves take.

Optuna counts the steps of a warm-up with `<`: `n_warmup_steps=2` first prunes after epoch 2. Its pruners do
not know families: an MLP's ten epochs and a CNN's five share one setting. Hyperband is given the longest
schedule.
"""

from __future__ import annotations

import heapq
import itertools
import os
import random
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    NopPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
)
from optuna.trial import TrialState

from benchmarks.common import save, spread, table
from benchmarks.curves import Curve, read
from bloodsearch.search.pruning.pruner import FamilyPruner
from bloodsearch.studies import load_study_file

N_SHUFFLES, WORKERS = 200, (1, 8)
N_CHOOSING, N_SUBSET = 100, 50
"""Settings are chosen with this many random subsets, of this many curves each."""
NEAR = 0.003
TOP = 0.05
CHOSEN_ON = 100
"""Settings are chosen on the curves before this number and compared on those from it."""
BUDGET = 0.25
"""Share of the simulated time of all full curves at which regret is read."""
STUDY = load_study_file("bloodmnist")

Settings = dict[str, Any]


def bloodsearch(epochs: int, **settings: Any) -> FamilyPruner:
    return FamilyPruner(
        STUDY.pruner.model_copy(update=settings), epochs_of=STUDY.training.epochs_of
    )


def hyperband(epochs: int, **settings: Any) -> HyperbandPruner:
    return HyperbandPruner(max_resource=epochs, **settings)


BUILD: dict[str, Callable[..., BasePruner]] = {
    "none": lambda epochs: NopPruner(),
    "bloodsearch, as shipped": bloodsearch,
    "bloodsearch, forecast": lambda epochs, **given: bloodsearch(epochs, name="forecast", **given),
    "bloodsearch, family": lambda epochs, **given: bloodsearch(epochs, name="family", **given),
    "Optuna median, after epoch 2": lambda epochs: PercentilePruner(
        50.0, n_startup_trials=5, n_warmup_steps=2
    ),
    "Optuna percentile": lambda epochs, **given: PercentilePruner(**given),
    "Optuna halving, 2 and 2": lambda epochs: SuccessiveHalvingPruner(
        min_resource=2, reduction_factor=2
    ),
    "Optuna successive halving": lambda epochs, **given: SuccessiveHalvingPruner(**given),
    "Optuna Hyperband": hyperband,
}
"""Makes a pruner from the longest schedule and its settings."""

GRIDS: dict[str, dict[str, Sequence[Any]]] = {
    "none": {},
    "bloodsearch, as shipped": {},
    "bloodsearch, forecast": {
        "chance": (0.01, 0.03, 0.05, 0.1),
        "top": (0.05, 0.1, 0.2),
        "warmup_epochs": (1, 2),
    },
    "bloodsearch, family": {
        "quantile": (0.25, 0.5, 0.75),
        "warmup_epochs": (1, 2, 3, {"cnn": 2, "mlp": 5}),
    },
    # a percentile of 50 is the median pruner
    "Optuna percentile": {
        "percentile": (25.0, 50.0, 75.0),
        "n_startup_trials": (5, 10),
        "n_warmup_steps": (1, 2, 3, 4),
    },
    "Optuna median, after epoch 2": {},
    "Optuna halving, 2 and 2": {},
    "Optuna successive halving": {"min_resource": (1, 2, 3), "reduction_factor": (2, 3, 4)},
    "Optuna Hyperband": {"min_resource": (1, 2, 3), "reduction_factor": (2, 3, 4)},
}


@dataclass(slots=True)
class Searched:
    """One pass over a shuffle."""

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
    searched = Searched([], set(), 0, 0.0)
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
        searched.epochs += 1
        searched.seconds = now
        trial.report(curve.values[done - 1], done)
        trial.set_user_attr("train_losses", curve.train_losses[:done])
        trial.set_user_attr("val_losses", curve.val_losses[:done])
        if done == len(curve.values) and curve.diverged:
            searched.seconds += curve.epoch_s  # of the epoch in which it did
            study.tell(trial, state=TrialState.PRUNED)
            start(now + curve.epoch_s, worker)
        elif done == len(curve.values):
            study.tell(trial, curve.best)
            searched.ends.append((searched.epochs, now, curve.best))
            start(now, worker)
        elif trial.should_prune() and curve.number not in audited:
            study.tell(trial, state=TrialState.PRUNED)
            searched.pruned.add(curve.number)
            start(now, worker)
        else:
            heapq.heappush(heap, (now + curve.epoch_s, worker, trial, curve, done))
    return searched


def judge(curves: Sequence[Curve], searched: Searched, n_workers: int) -> dict[str, float]:
    """Return what a search of one shuffle cost, and what it missed."""
    best = max(curve.best for curve in curves)
    near = [(epochs, seconds) for epochs, seconds, value in searched.ends if value >= best - NEAR]
    budget = BUDGET * sum(curve.epoch_s * len(curve.values) for curve in curves) / n_workers
    within = [value for _, seconds, value in searched.ends if seconds <= budget]
    n_top = max(1, round(TOP * len(curves)))
    top = sorted(curves, key=lambda curve: -curve.best)[:n_top]
    return {
        # a search that never comes near has spent all that it had
        "epochs": near[0][0] if near else searched.epochs,
        "seconds": near[0][1] if near else searched.seconds,
        "found": float(bool(near)),
        "regret": best - max(within, default=0.0),
        "all epochs": searched.epochs,
        "all seconds": searched.seconds,
        "top pruned": sum(curve.number in searched.pruned for curve in top) / n_top,
    }


def one(task: tuple[str, Settings, int, range, int | None, int]) -> dict[str, float]:
    """Search one shuffle of the curves whose numbers are in a range, or of a subset of them."""
    name, settings, n_workers, numbers, n_curves, seed = task
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    curves, order = [curve for curve in read() if curve.number in numbers], random.Random(seed)
    order.shuffle(curves)
    curves = curves[:n_curves]
    drawn = {curve.number for curve in curves if order.random() < STUDY.pruner.audit}
    pruner = BUILD[name](max(curve.epochs for curve in curves), **settings)
    audited = drawn if isinstance(pruner, FamilyPruner) else set[int]()
    return judge(curves, search(curves, pruner, n_workers, audited), n_workers)


def expected(spent: list[float], came_near: list[float]) -> float:
    """Return the expected running time: all that was spent, per shuffle that came near the best."""
    return sum(spent) / sum(came_near) if any(came_near) else float("inf")


class Replays:
    """Replays on a pool of processes."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self.pool = pool

    def measure(
        self,
        name: str,
        settings: Settings,
        n_workers: int,
        numbers: range,
        n_shuffles: int = N_SHUFFLES,
        n_curves: int | None = None,
    ) -> dict[str, list[float]]:
        """Return the figures of `judge`, each with one value per shuffle."""
        tasks = [(name, settings, n_workers, numbers, n_curves, seed) for seed in range(n_shuffles)]
        rows = list(self.pool.map(one, tasks, chunksize=5))
        return {key: [row[key] for row in rows] for key in rows[0]}

    def choose(self, name: str) -> Settings:
        """Return the settings with the fewest expected seconds on the curves for choosing."""

        def seconds(settings: Settings) -> float:
            figures = self.measure(name, settings, 1, range(CHOSEN_ON), N_CHOOSING, N_SUBSET)
            return expected(figures["seconds"], figures["found"])

        grid = GRIDS[name]
        points = [dict(zip(grid, p, strict=True)) for p in itertools.product(*grid.values())]
        best = min(points, key=seconds) if len(points) > 1 else points[0]
        print(name, best, flush=True)
        return best

    def compare(
        self, chosen: dict[str, Settings], n_workers: int, numbers: range
    ) -> tuple[list[list[str]], list[dict[str, Any]]]:
        """Return the rows of a table and the results, with each pruner beside the first."""
        rows, results, first = [], [], dict[str, float]()
        for name, settings in chosen.items():
            figures = self.measure(name, settings, n_workers, numbers)
            cost = {key: expected(figures[key], figures["found"]) for key in ("epochs", "seconds")}
            cost |= {key: statistics.mean(figures[key]) for key in ("all epochs", "all seconds")}
            first = first or cost
            shown = [
                f"{value:.0f} ({first[key] / value:.2f} x)" if value < float("inf") else "never"
                for key, value in cost.items()
            ]
            regret, top = statistics.mean(figures["regret"]), statistics.mean(figures["top pruned"])
            error = statistics.stdev(figures["regret"]) / len(figures["regret"]) ** 0.5
            cells = [*shown[:2], f"{statistics.mean(figures['found']):.0%}"]
            cells += [f"{regret:.4f} ({error:.4f})", *shown[2:], f"{top:.1%}"]
            rows.append([name, str(n_workers), *cells])
            finite = {key: value if value < float("inf") else None for key, value in cost.items()}
            spreads = {key: spread(values) for key, values in figures.items()}
            results.append(
                {
                    "pruner": name,
                    "settings": settings,
                    "workers": n_workers,
                    "curves": [numbers.start, numbers.stop],
                    "mean": finite,
                    "of": spreads,
                }
            )
            print(*rows[-1], flush=True)
        return rows, results


def run() -> None:
    columns = ["pruner", "workers", f"epochs to within {NEAR} of the best", "seconds to there"]
    columns += ["come there", f"regret at {BUDGET:.0%} of the time (se)", "epochs for all"]
    columns += ["seconds for all", f"of the top {TOP:.0%} pruned"]
    last = max(curve.number for curve in read()) + 1
    halves = {
        "the comparison: curves on which no settings were chosen": range(CHOSEN_ON, last),
        "the curves on which the settings were chosen": range(CHOSEN_ON),
    }
    results = []
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        replays = Replays(pool)
        chosen = {name: replays.choose(name) for name in BUILD}
        settings = [
            [name, ", ".join(f"{k} {v}" for k, v in s.items())] for name, s in chosen.items()
        ]
        table("settings chosen", ["pruner", "settings"], [row for row in settings if row[1]])
        for title, numbers in halves.items():
            rows = []
            for n_workers in WORKERS if numbers.start else WORKERS[:1]:
                more, measured = replays.compare(chosen, n_workers, numbers)
                rows += more
                results += measured
            table(
                f"{title}, {N_SHUFFLES} shuffles (times fewer than without pruning)", columns, rows
            )
    save("pruners", results)


if __name__ == "__main__":
    run()
