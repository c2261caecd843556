"""Which trainings go on, and by which prediction: replayed on the ladders that `ladders` recorded.

    python -m benchmarks ladder_replay

Random subsets of the recorded configurations of a family climb a ladder: all are known at the first length,
some go on to the second, few to the last, and the best of those wins. What it saves is epochs, against
training all at the last length. Regret is how much the best of the subset is better than the winner, at the
last length. Predictors: the rank at the last length known; a linear regression of the last value on the known
ones, fitted to the configurations outside the subset; a Gaussian process over configuration and length,
fitted to all that is known in the subset. Nothing is trained. Few recorded ladders say little.
"""

from __future__ import annotations

import json
import statistics
import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import RESULTS, save, table
from benchmarks.ladders import LENGTHS, complete, configuration, end

N_SUBSETS = 300
KEEP = ((1.0, 1.0), (0.5, 0.25), (0.5, 0.125), (0.25, 0.125), (0.125, 0.0))
"""Shares of a subset that go on to the second and to the last length; at least one does."""
LEAST = 6
"""Recorded ladders below which nothing is replayed."""

Values = NDArray[np.float64]
Predict = Callable[[Values, int, Values, Values], Values]
"""(known values (n, rungs known), rungs, features (n, p), other ladders (m, 3)) -> scores to rank by."""


def by_rank(known: Values, rungs: int, features: Values, others: Values) -> Values:
    """Rank by the value at the last length known."""
    return known[:, rungs - 1]


def by_regression(known: Values, rungs: int, features: Values, others: Values) -> Values:
    """Rank by the last value that other configurations' ladders lead to expect."""
    if len(others) < rungs + 3:
        return known[:, rungs - 1]
    design = np.column_stack([np.ones(len(others)), others[:, :rungs]])
    # a little ridge: with few ladders the columns are nearly the same
    ridge = 1e-4 * np.eye(rungs + 1)
    slopes = np.linalg.solve(design.T @ design + ridge, design.T @ others[:, -1])
    predicted: Values = np.column_stack([np.ones(len(known)), known[:, :rungs]]) @ slopes
    return predicted


def by_process(known: Values, rungs: int, features: Values, others: Values) -> Values:
    """Rank by a Gaussian process over configuration and log length, which knows all values so far."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    rows = np.concatenate(
        [np.column_stack([features, np.full(len(features), rung)]) for rung in range(rungs)]
    )
    values = known[:, :rungs].T.reshape(-1)
    kernel = ConstantKernel(1.0) * RBF(np.ones(rows.shape[1])) + WhiteKernel(0.1)
    model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(rows, values)
        at_end = np.column_stack([features, np.full(len(features), 2.0)])
        mean: Values = model.predict(at_end)
    return mean


PREDICTORS: dict[str, Predict] = {
    "rank": by_rank,
    "regression": by_regression,
    "Gaussian process": by_process,
}


def features_of(family: str, numbers: list[int]) -> Values:
    """Return the configurations as numbers of mean 0 and spread 1."""
    points = [configuration(family, number) for number in numbers]
    names = [k for k, v in points[0].items() if isinstance(v, int | float)]
    raw = np.array([[float(point[name]) for name in names] for point in points])
    for i, name in enumerate(names):
        if name in ("lr", "weight_decay", "cnn_width", "mlp_width", "batch_size"):
            raw[:, i] = np.log(raw[:, i])
    spread = raw.std(axis=0)
    scaled: Values = ((raw - raw.mean(axis=0)) / np.where(spread > 0, spread, 1))[:, spread > 0]
    return scaled


def climb(
    values: Values, features: Values, others: Values, keep: tuple[float, float], predict: Predict
) -> tuple[int, list[int]]:
    """Return the winner's index and how many configurations were trained at each length."""
    n = len(values)
    alive = np.arange(n)
    trained = [n]
    for rung, share in enumerate(keep, start=1):
        n_kept = min(len(alive), max(1, round(share * n)))
        scores = predict(values[alive], rung, features[alive], others)
        alive = alive[np.argsort(-scores)[:n_kept]]
        trained.append(n_kept)
    return int(alive[values[alive, -1].argmax()]), trained


def run() -> None:
    runs = json.loads((RESULTS / "ladders.json").read_text())["result"]
    rows = []
    for family, lengths in LENGTHS.items():
        ladders = complete(runs, family)
        if len(ladders) < LEAST:
            print(f"{family}: {len(ladders)} complete ladders, at least {LEAST} are needed")
            continue
        values = np.array(
            [
                [end(r, n) for r, n in zip(ladder, lengths, strict=True)]
                for ladder in ladders.values()
            ]
        )
        features = features_of(family, list(ladders))
        size = max(4, 2 * len(values) // 3)
        for keep in KEEP:
            for name, predict in PREDICTORS.items():
                rng = np.random.default_rng(0)
                regrets, shares = [], []
                for _ in range(N_SUBSETS if predict is not by_process else N_SUBSETS // 10):
                    order = rng.permutation(len(values))
                    inside, outside = order[:size], order[size:]
                    subset = values[inside]
                    winner, trained = climb(
                        subset, features[inside], values[outside], keep, predict
                    )
                    regrets.append(float(subset[:, -1].max() - subset[winner, -1]))
                    cost = sum(n * epochs for n, epochs in zip(trained, lengths, strict=True))
                    shares.append(size * lengths[-1] / cost)
                rows.append(
                    [family, len(values), f"{keep[0]:.0%}, {keep[1]:.0%}", name,
                     f"{statistics.fmean(shares):.1f}x", f"{1e4 * statistics.fmean(regrets):.1f}",
                     f"{np.quantile(regrets, 0.9) * 1e4:.1f}"]
                )  # fmt: skip
    columns = ["family", "ladders", "go on to lengths 2, 3", "predictor", "fewer epochs"]
    columns += ["regret, 1e-4", "its 90 % quantile"]
    table("climbing recorded ladders", columns, rows)
    save("ladder_replay", rows)


if __name__ == "__main__":
    run()
