"""Is the pruner's stated chance true? A reliability table on recorded curves that had no part in the fit.

    python -m benchmarks calibration

The forecast rule is run over shuffles of benchmarks/curves.csv without pruning anything. For each training
and epoch it gives its own chance of reaching the bar, and the curve's end says whether the bar was reached.
For CNNs a logistic regression on that chance's log-odds and on the progress of the training corrects it. The
fit on curves with even numbers is judged on those with odd ones, and the other way round. Nothing is trained.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from benchmarks.common import save, table
from benchmarks.curves import Curve, read
from bloodsearch.search.pruning.forecast import CALIBRATION, Forecast, calibrated, log_odds
from bloodsearch.search.pruning.peers import Peer
from bloodsearch.studies import load_study_file

STUDY = load_study_file("bloodmnist")
N_SHUFFLES, N_BOOTSTRAP = 60, 500
EDGES = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True, slots=True)
class Forecasted:
    """One forecast, and how it ended."""

    number: int
    """The curve's."""
    family: str
    progress: float
    """Epochs trained as a share of the schedule."""
    raw: float
    reached: bool


def forecasts(curves: list[Curve], n_shuffles: int = N_SHUFFLES) -> Iterator[Forecasted]:
    """Yield what the rule says of each curve after each epoch, if all before it were trained to the end."""
    for seed in range(n_shuffles):
        shuffled = random.Random(seed).sample(curves, len(curves))
        rule = Forecast(STUDY.pruner, STUDY.training.epochs_of)
        for curve in shuffled:
            if curve.diverged:
                continue
            for epoch in range(1, curve.epochs):
                losses = curve.train_losses[epoch - 1], curve.val_losses[epoch - 1]
                found = rule.judge(curve.family, epoch, max(curve.values[:epoch]), losses)
                if found is not None:
                    yield Forecasted(
                        curve.number,
                        curve.family,
                        epoch / curve.epochs,
                        found.raw,
                        curve.best >= found.bar,
                    )
            values = dict(enumerate(curve.values, start=1))
            peer = Peer(
                curve.family, True, values, list(curve.train_losses), list(curve.val_losses)
            )
            rule.learn([peer])


def fit(rows: list[Forecasted]) -> tuple[float, float, float]:
    """Return the correction's constant, factor of the log-odds and factor of the progress."""
    features = np.array([[log_odds(row.raw), row.progress] for row in rows])
    reached = np.array([row.reached for row in rows])
    # one curve gives many rows, which are no independent evidence
    n_curves = len({row.number for row in rows})
    weights = np.full(len(rows), n_curves / len(rows))
    model = LogisticRegression(C=1.0).fit(features, reached, sample_weight=weights)
    slope, progress = model.coef_[0]
    return float(model.intercept_[0]), float(slope), float(progress)


def corrected(row: Forecasted, constants: tuple[float, float, float]) -> float:
    return calibrated(row.raw, row.progress, constants)


def interval(rows: list[Forecasted]) -> tuple[float, float]:
    """Return the 95 % interval of the observed share, over bootstrap samples of curves."""
    by_curve: dict[int, list[bool]] = {}
    for row in rows:
        by_curve.setdefault(row.number, []).append(row.reached)
    sums = np.array([[sum(r), len(r)] for r in by_curve.values()], dtype=float)
    generator = np.random.default_rng(0)
    drawn = sums[generator.integers(0, len(sums), (N_BOOTSTRAP, len(sums)))].sum(axis=1)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [0.025, 0.975])
    return float(low), float(high)


def reliability(
    name: str, rows: list[Forecasted], stated: NDArray[np.float64]
) -> Iterator[list[str]]:
    """Yield a row per range of stated chances: how many, the mean stated, and the share that came true."""
    for low, high in itertools.pairwise(EDGES):
        inside = (stated >= low) & (stated < high)
        chosen = [row for row, take in zip(rows, inside, strict=True) if take]
        if len({row.number for row in chosen}) < 5:
            continue
        observed = np.mean([row.reached for row in chosen])
        bounds = interval(chosen)
        yield [
            name, f"{low:.0%} to {high:.0%}", str(len({row.number for row in chosen})),
            f"{stated[inside].mean():.1%}", f"{observed:.1%}",
            f"{bounds[0]:.1%} .. {bounds[1]:.1%}",
        ]  # fmt: skip


def run() -> None:
    curves = read()
    halves = [[c for c in curves if c.number % 2 == part] for part in (0, 1)]
    rows = [list(forecasts(half)) for half in halves]
    shown, results = [], {}
    for family in ("cnn", "mlp"):
        parts = [[row for row in half if row.family == family] for half in rows]
        held_out = [*parts[0], *parts[1]]
        raw = np.array([row.raw for row in held_out])
        shown += list(reliability(f"{family}, model's own", held_out, raw))
        if family not in CALIBRATION:
            continue
        constants = [fit(part) for part in parts]
        after = np.array(
            [corrected(row, constants[1]) for row in parts[0]]
            + [corrected(row, constants[0]) for row in parts[1]]
        )
        shown += list(reliability(f"{family}, corrected", held_out, after))
        everything = [row for row in forecasts(curves) if row.family == family]
        results[family] = {"constants": fit(everything), "shipped": CALIBRATION[family]}
        print(family, [round(c, 2) for c in results[family]["constants"]], flush=True)
    columns = ["family", "stated chance", "curves", "mean stated", "came true", "95 % over curves"]
    table("the pruner's chance on held-out halves of the curves", columns, shown)
    save("calibration", {"constants": results, "table": shown})


if __name__ == "__main__":
    run()
