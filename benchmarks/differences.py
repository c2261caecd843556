"""Coverage of the intervals over seeds, and errors of the verdicts that follow from them, by simulation.

    python -m benchmarks differences

Replicates of A and B are drawn with a known difference. Their standard deviations are of the size that
final trainings have: 0.004, or 0.002 against 0.006. Macro-F1 may have a longer tail downwards, so both a
normal and a skewed distribution (a gamma of shape 4, turned round) are drawn. Nothing is trained.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bloodsearch.search.course.verdicts import MARGIN
from bloodsearch.search.evaluation.intervals import Difference, difference, equal, larger

from .common import save, table

N_REPETITIONS = 4000
REPLICATES = (2, 3, 5, 10)
SPREADS = ((0.004, 0.004), (0.002, 0.006))
SHARED = 0.5
"""Part of the variance that two paired replicates share."""
Noise = Callable[[np.random.Generator, tuple[int, ...]], NDArray[np.float64]]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Draw from a normal distribution of mean 0 and variance 1."""
    return rng.standard_normal(shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Draw from a distribution of mean 0 and variance 1 with a longer tail downwards (skewness -1)."""
    return -(rng.gamma(4.0, 1.0, shape) - 4.0) / 2.0


def draw(
    rng: np.random.Generator,
    noise: Noise,
    n: int,
    spreads: tuple[float, float],
    shift: float,
    *,
    paired: bool,
) -> Difference:
    """Return the difference that `n` replicates of each side show, where the true one is `shift`."""
    common, a, b = noise(rng, (3, n))
    if paired:
        a, b = ((SHARED**0.5) * common + ((1 - SHARED) ** 0.5) * own for own in (a, b))
    first = {seed: shift + spreads[0] * float(a[seed]) for seed in range(n)}
    other = 0 if paired else n  # seeds in common are compared in pairs
    return difference(first, {seed + other: spreads[1] * float(b[seed]) for seed in range(n)})


def run() -> None:
    rows, results = [], []
    for noise, paired, spreads, n in itertools.product(
        (normal, skewed), (True, False), SPREADS, REPLICATES
    ):
        rng = np.random.default_rng(0)
        same = [draw(rng, noise, n, spreads, 0.0, paired=paired) for _ in range(N_REPETITIONS)]
        at_margin = [
            draw(rng, noise, n, spreads, MARGIN, paired=paired) for _ in range(N_REPETITIONS)
        ]
        found = {
            "coverage": np.mean([d.low <= 0 <= d.high for d in same]),
            "falsely larger": np.mean([larger(d) == "holds" for d in same]),
            "falsely equal": np.mean([equal(d, MARGIN) == "holds" for d in at_margin]),
        }
        of = {"noise": noise.__name__, "paired": paired, "spreads": spreads, "n": n}
        results.append({**of, **{key: float(value) for key, value in found.items()}})
        rows.append(
            [noise.__name__, "paired" if paired else "independent",
             " and ".join(str(s) for s in spreads), n, *(f"{v:.1%}" for v in found.values())]
        )  # fmt: skip
    columns = [
        "replicates drawn from",
        "seeds",
        "sd of A and B",
        "n",
        "95 % interval holds the truth",
    ]
    columns += ["A called better, though equal", f"called equal, though {MARGIN} apart"]
    table(f"intervals over seeds, {N_REPETITIONS} repetitions each", columns, rows)
    save("differences", results)


if __name__ == "__main__":
    run()
