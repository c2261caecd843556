"""What the recorded curves say of the default space: when a trial's end can be seen, and what matters.

    python -m benchmarks landscape

Reads benchmarks/curves.csv, trains nothing. Rank agreement is Kendall's tau between what is seen at an epoch
and the value in the end, with its standard deviation over bootstrap samples of the curves. Of each parameter
the values that were drawn are parted into its choices or into thirds of its range.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from scipy.stats import kendalltau, kruskal

from benchmarks.common import save, table
from benchmarks.curves import Curve, read
from bloodsearch.studies import Range, load_study_file

N_BOOTSTRAP = 200
BEST_SHARE = 0.1
MAX_CHOICES = 5
STUDY = load_study_file("bloodmnist")

SEEN: dict[str, Callable[[Curve, int], float]] = {
    "best macro-F1 so far": lambda curve, epoch: max(curve.values[:epoch]),
    "macro-F1": lambda curve, epoch: curve.values[epoch - 1],
    "validation loss": lambda curve, epoch: -curve.val_losses[epoch - 1],
    "training loss": lambda curve, epoch: -curve.train_losses[epoch - 1],
}


def tau(seen: list[float], ends: list[float]) -> tuple[float, float]:
    """Kendall's tau and its standard deviation over bootstrap samples."""
    x, y = np.array(seen), np.array(ends)
    generator = np.random.default_rng(0)
    drawn = (generator.integers(0, len(x), len(x)) for _ in range(N_BOOTSTRAP))
    spread = [kendalltau(x[i], y[i]).statistic for i in drawn]
    return float(kendalltau(x, y).statistic), float(np.std(spread))


def agreement(curves: list[Curve], family: str) -> Iterator[list[str]]:
    ends = [curve.best for curve in curves]
    for epoch in range(1, curves[0].epochs + 1):
        found = [tau([see(curve, epoch) for curve in curves], ends) for see in SEEN.values()]
        cells = (f"{value:.2f} ({spread:.2f})" for value, spread in found)
        yield [family, str(len(curves)), str(epoch), *cells]


def parts(name: str, curves: list[Curve]) -> dict[str, list[Curve]]:
    """The curves by the choice, or by the third of the range, that `name` had in them."""
    entry, drawn = STUDY.space[name], sorted({curve.params[name] for curve in curves})
    if not isinstance(entry, Range) or len(drawn) <= MAX_CHOICES:
        return {str(value): [c for c in curves if c.params[name] == value] for value in drawn}
    edges = np.geomspace if entry.log else np.linspace
    bounds = [float(edge) for edge in edges(entry.low, entry.high, 4)]
    return {
        f"{low:.2g} .. {high:.2g}": [c for c in curves if low <= c.params[name] <= high]
        for low, high in itertools.pairwise(bounds)
    }


def matters(curves: list[Curve], family: str) -> Iterator[list[str]]:
    n_best = max(1, round(BEST_SHARE * len(curves)))
    best = {curve.number for curve in sorted(curves, key=lambda curve: -curve.best)[:n_best]}
    for name in STUDY.space:
        having = [curve for curve in curves if name in curve.params]
        groups = {key: group for key, group in parts(name, having).items() if group}
        if len(groups) < 2:
            continue
        values = [[curve.best for curve in group] for group in groups.values()]
        yield [
            family,
            name,
            "; ".join(
                f"{key}: {statistics.median(c.best for c in group):.3f} (n={len(group)}, "
                f"best {sum(c.number in best for c in group)})"
                for key, group in groups.items()
            ),
            f"{kruskal(*values).pvalue:.2g}",
        ]


def run() -> None:
    curves = read()
    ended = [curve for curve in curves if not curve.diverged]
    families = {name: [c for c in ended if c.family == name] for name in ("cnn", "mlp")}
    agreeing = [row for name, group in families.items() for row in agreement(group, name)]
    table(
        f"Kendall's tau with the end, {len(curves)} random configurations of the default study",
        ["family", "n", "epoch", *(f"{name} (sd)" for name in SEEN)],
        agreeing,
    )
    mattering = [row for name, group in families.items() for row in matters(group, name)]
    table(
        "median macro-F1 by choice or third of a range, and how many of the family's best tenth are there",
        ["family", "parameter", "choices", "Kruskal-Wallis p"],
        mattering,
    )
    summary: list[dict[str, Any]] = [
        {
            "family": name,
            "n": len(group),
            "diverged": sum(c.family == name and c.diverged for c in curves),
            "best": max(c.best for c in group),
            "median": statistics.median(c.best for c in group),
            "processor seconds a trial": statistics.mean(c.epoch_s * c.epochs for c in group),
        }
        for name, group in families.items()
    ]
    table(
        "the two families",
        list(summary[0]),
        [[f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()] for row in summary],
    )
    save("landscape", {"families": summary, "agreement": agreeing, "parameters": mattering})


if __name__ == "__main__":
    run()
