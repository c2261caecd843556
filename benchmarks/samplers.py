"""Samplers compared on a surrogate of the default space, fitted to recorded trainings.

    python -m benchmarks samplers      # about an hour of one core; continues where it stopped

A forest of extremely randomised trees for each family (Geurts, Ernst, Wehenkel 2006) predicts the end of the
curves in benchmarks/curves.csv from their parameters. A simulated trial's value is the forest's, with a
seed's noise of NOISE. All samplers search the default study's space through Optuna, with the same noise. A
search is judged by the forest's own value of the trial that it would choose, the one with the best noisy
value: what a fresh seed would give on average. Regret is what is missing to the best of N_POINTS random
points. Nothing is trained.

Optuna's Gaussian process searches the parameters that all trials have in common, and draws the others at
random. So it is also compared in the space of one family, where fewer depend on others.
"""

from __future__ import annotations

import json
import math
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import optuna
import torch
from numpy.typing import NDArray
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler

from benchmarks.common import result_path, save, table
from benchmarks.curves import read
from bloodsearch.search.sampling.sampler import make_sampler
from bloodsearch.search.sampling.space import Params, suggest
from bloodsearch.studies import StudyFile, load_study_file, only_arch

SEEDS = 30
N_TRIALS = 60
READ_AT = (20, 40, 60)
NOISE = 0.004
"""Standard deviation of a trial's value over seeds (`python -m benchmarks image_noise`)."""
N_POINTS = 20_000
N_TREES = 100
STUDY = load_study_file("bloodmnist")
SPACES: dict[str, StudyFile] = {"both families": STUDY, "CNN alone": only_arch(STUDY, "cnn")}
GOOD: Params = {
    "arch": "cnn", "optimizer": "muon", "lr": 0.01, "weight_decay": 0.01, "batch_size": 128,
    "loss": "cross_entropy", "label_smoothing": 0.1, "cnn_blocks": 3, "cnn_width": 24, "cnn_convs": 2,
    "cnn_residual": True, "cnn_norm": True, "cnn_head": "flatten", "cnn_dropout": 0.2,
}  # fmt: skip
"""A point that a person would try first."""


class Started(BaseSampler):
    """Draws the first trials with one sampler and the others with another."""

    def __init__(self, first: BaseSampler, then: BaseSampler, n_first: int) -> None:
        self.first, self.then, self.n_first = first, then, n_first

    def _of(self, trial: Any) -> BaseSampler:
        return self.first if trial.number < self.n_first else self.then

    def infer_relative_search_space(self, study: Any, trial: Any) -> Any:
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(self, study: Any, trial: Any, search_space: Any) -> Any:
        return self._of(trial).sample_relative(study, trial, search_space)

    def sample_independent(self, study: Any, trial: Any, name: Any, distribution: Any) -> Any:
        return self._of(trial).sample_independent(study, trial, name, distribution)


SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: RandomSampler(seed=seed),
    "TPE as shipped (16 random first)": make_sampler,
    "8 random first": lambda seed: make_sampler(seed, 8),
    "32 random first": lambda seed: make_sampler(seed, 32),
    "16 of a Sobol sequence first": lambda seed: Started(
        QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False),
        make_sampler(seed, 16),
        16,
    ),
    "a person's point first": make_sampler,
    "Optuna's TPE, univariate": lambda seed: TPESampler(seed=seed, n_startup_trials=16),
    "Optuna's Gaussian process": lambda seed: GPSampler(seed=seed, n_startup_trials=16),
}


def features(params: Params) -> list[float]:
    """Return the numbers that the forest sees: logarithms of rates and sizes, choices as 0 and 1."""
    numbers = [math.log(float(params.get(key) or 1e-6)) for key in ("lr", "sgd_lr", "weight_decay")]
    for key in ("batch_size", "mlp_width", "cnn_width"):
        numbers.append(math.log(float(params.get(key) or 1)))
    for key in (
        "label_smoothing",
        "mlp_depth",
        "mlp_dropout",
        "cnn_blocks",
        "cnn_dropout",
        "cnn_convs",
        "shift",
    ):
        numbers.append(float(params.get(key) or 0))
    for key in ("mlp_norm", "cnn_residual", "cnn_norm"):
        numbers.append(float(bool(params.get(key))))
    for key, choices in (
        ("optimizer", ("muon", "adamw", "sgd")),
        ("loss", ("weighted_cross_entropy",)),
        ("cnn_head", ("flatten", "mean")),
    ):
        numbers += [float(params.get(key) == choice) for choice in choices]
    return numbers


def _examples(family: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    curves = [c for c in read() if c.family == family and not c.diverged]
    # errors differ by factors: what is missing to 1 is learned as a logarithm
    return (
        np.array([features(c.params) for c in curves]),
        np.log([1 - c.best for c in curves]),
    )


@cache
def forest(family: str) -> Any:
    """Return the fitted forest of a family."""
    from sklearn.ensemble import ExtraTreesRegressor

    trees = ExtraTreesRegressor(N_TREES, min_samples_leaf=2, random_state=0)
    return trees.fit(*_examples(family))


def explained(family: str) -> float:
    """Return the share of the variance that the forest predicts of curves it has not seen (ten folds)."""
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.model_selection import KFold, cross_val_predict

    known, ends = _examples(family)
    trees = ExtraTreesRegressor(N_TREES, min_samples_leaf=2, random_state=0)
    folds = KFold(10, shuffle=True, random_state=0)
    predicted = cross_val_predict(trees, known, ends, cv=folds)
    return float(1 - np.mean((predicted - ends) ** 2) / ends.var())


def true_values(points: Sequence[Params]) -> NDArray[np.float64]:
    """Return the forests' macro-F1 of points."""
    values = np.zeros(len(points))
    for family in ("cnn", "mlp"):
        of = [i for i, point in enumerate(points) if point["arch"] == family]
        if of:
            known = np.array([features(points[i]) for i in of])
            values[of] = 1 - np.exp(forest(family).predict(known))
    return values


def best_value(space: str) -> float:
    """Return the best of N_POINTS random points."""
    study = optuna.create_study(sampler=RandomSampler(seed=0))
    points = [suggest(study.ask(), SPACES[space]) for _ in range(N_POINTS)]
    return float(true_values(points).max())


def search(space: str, sampler: str, seed: int) -> tuple[list[float], float]:
    """Return the true value of the trial chosen after each number of READ_AT, and the seconds of asking."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    torch.set_num_threads(1)  # of the Gaussian process
    file = SPACES[space]
    study = optuna.create_study(direction="maximize", sampler=SAMPLERS[sampler](seed))
    if sampler == "a person's point first":
        study.enqueue_trial(GOOD)
    noise = np.random.default_rng(seed).normal(0, NOISE, N_TRIALS)
    true, seen, asking = list[float](), list[float](), 0.0
    for number in range(N_TRIALS):
        started = time.perf_counter()
        trial = study.ask()
        point = suggest(trial, file)
        asking += time.perf_counter() - started
        true.append(float(true_values([point])[0]))
        seen.append(true[-1] + noise[number])
        study.tell(trial, seen[-1])
    chosen = [true[int(np.argmax(seen[:n]))] for n in READ_AT]
    return chosen, asking


def run() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = result_path("samplers")
    result: dict[str, Any] = json.loads(path.read_text())["result"] if path.exists() else {}
    result["explained"] = {f: explained(f) for f in ("cnn", "mlp")}
    for family, share in result["explained"].items():
        print(f"{family}: the forest predicts {100 * share:.0f} % of the variance of unseen curves")
    with ProcessPoolExecutor() as pool:
        for space in SPACES:
            known = result.setdefault(space, {"best": best_value(space), "searches": {}})
            for name in [name for name in SAMPLERS if name not in known["searches"]]:
                searches = pool.map(search, [space] * SEEDS, [name] * SEEDS, range(SEEDS))
                known["searches"][name] = list(searches)
                save("samplers", result)
    for space in SPACES:
        found = {name: result[space]["searches"][name] for name in SAMPLERS}
        _show(space, result[space]["best"], found)
    save("samplers", result)


def _show(space: str, best: float, found: dict[str, list[tuple[list[float], float]]]) -> None:
    shipped = [chosen for chosen, _ in found["TPE as shipped (16 random first)"]]
    rows = []
    for name, searches in found.items():
        cells = []
        for i in range(len(READ_AT)):
            regrets = [1e4 * (best - chosen[i]) for chosen, _ in searches]
            to_shipped = [
                1e4 * (chosen[i] - other[i])
                for (chosen, _), other in zip(searches, shipped, strict=True)
            ]
            cells.append(f"{statistics.fmean(regrets):.1f}")
            if name == "TPE as shipped (16 random first)":
                cells.append("")
            else:
                error = statistics.stdev(to_shipped) / math.sqrt(len(to_shipped))
                cells.append(f"{statistics.fmean(to_shipped):+.1f} ({error:.1f})")
        seconds = statistics.fmean(seconds for _, seconds in searches) / N_TRIALS
        rows.append([name, *cells, f"{1000 * seconds:.0f}"])
    columns = ["sampler"]
    for n in READ_AT:
        columns += [f"regret after {n}, 1e-4", "gain on shipped (se)"]
    table(f"{space}, {SEEDS} searches of {N_TRIALS} trials", [*columns, "ms a draw"], rows)
