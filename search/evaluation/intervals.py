"""Is one configuration better than another? Differences of means over replicates, with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
POWER = 0.8
MAX_REPLICATES = 1000

Verdict = Literal["holds", "does not hold", "cannot be told"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of A minus mean of B. `low` and `high` bound its 95 % interval over replicates (Student's t)."""

    mean: float
    low: float
    high: float
    n_a: int
    n_b: int
    paired: bool
    """Over seeds that both sides have; else two independent samples (Welch)."""
    sd: float
    """Of the paired differences, or of a difference of two independent replicates."""

    @property
    def known(self) -> bool:
        """Whether there are replicates enough for an interval."""
        return math.isfinite(self.low)

    def needed(self) -> int | None:
        """Replicates for each side to tell a difference this large with 80 % probability.

        None when no interval is known, or more than 1000 are needed.
        """
        return replicates_needed(self.mean, self.sd) if self.known else None


def difference(a: Mapping[int, float], b: Mapping[int, float]) -> Difference:
    """Compare replicates, given as seed -> value; at least one each.

    With two or more common seeds only those count, paired: the same seed shares the order of the
    images and, for equal architectures, the first weights.
    """
    common = sorted(set(a) & set(b))
    if len(common) >= 2 or (len(common) == 1 and min(len(a), len(b)) == 1):
        return paired_difference([a[seed] - b[seed] for seed in common])
    return _welch(np.asarray(list(a.values())), np.asarray(list(b.values())))


def paired_difference(differences: list[float]) -> Difference:
    """The interval of the mean of paired differences."""
    values = np.asarray(differences)
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Difference(mean, -math.inf, math.inf, n, n, True, math.nan)
    sd = float(values.std(ddof=1))
    half = _t_quantile(n - 1) * sd / math.sqrt(n)
    return Difference(mean, mean - half, mean + half, n, n, True, sd)


def _welch(a: NDArray[np.float64], b: NDArray[np.float64]) -> Difference:
    mean = float(a.mean() - b.mean())
    if len(a) < 2 or len(b) < 2:
        return Difference(mean, -math.inf, math.inf, len(a), len(b), False, math.nan)
    parts = np.array([a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)])
    error = math.sqrt(parts.sum())
    if error:
        freedom = parts.sum() ** 2 / (parts**2 / [len(a) - 1, len(b) - 1]).sum()
        half = _t_quantile(freedom) * error
    else:
        half = 0.0
    sd = math.sqrt(a.var(ddof=1) + b.var(ddof=1))
    return Difference(mean, mean - half, mean + half, len(a), len(b), False, sd)


def replicates_needed(mean: float, sd: float) -> int | None:
    """The smallest n whose t-test at 5 % finds a true difference `mean` with 80 % probability.

    None when that is more than 1000.
    """
    from scipy.stats import nct

    if sd == 0:
        return 2 if mean else None
    for n in range(2, MAX_REPLICATES + 1):
        critical = _t_quantile(n - 1)
        shift = abs(mean) / sd * math.sqrt(n)
        if float(nct.sf(critical, n - 1, shift)) >= POWER:
            return n
    return None


def larger(found: Difference) -> Verdict:
    """Of the claim that A is better than B."""
    if not found.known:
        return "cannot be told"
    if found.low > 0:
        return "holds"
    return "does not hold" if found.high <= 0 else "cannot be told"


def equal(found: Difference, margin: float) -> Verdict:
    """Of the claim that A and B differ by less than `margin` either way."""
    if not found.known:
        return "cannot be told"
    if -margin < found.low and found.high < margin:
        return "holds"
    return "does not hold" if found.low >= margin or found.high <= -margin else "cannot be told"


def _t_quantile(freedom: float) -> float:
    from scipy.stats import t

    return float(t.ppf(0.5 + CONFIDENCE / 2, freedom))
