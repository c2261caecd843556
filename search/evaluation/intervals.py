"""Differences of means over replicates with intervals: is one configuration better than another?"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
POWER = 0.8
MAX_REPLICATES = 1000

Verdict = Literal["holds", "does not hold", "cannot be told"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of A minus mean of B. `low` and `high` bound its interval over replicates (Student's t)."""

    mean: float
    low: float
    high: float
    n_a: int
    n_b: int
    paired: bool
    """Over seeds that both sides have; else two independent samples (Welch)."""
    sd: float
    """Of the paired differences, or of a difference of two independent replicates."""
    freedom: float = math.nan
    """Degrees of freedom of the interval."""
    confidence: float = CONFIDENCE
    """Of the interval."""

    def at(self, confidence: float) -> Difference:
        """Return the same difference with the interval of another confidence."""
        if not self.known or not math.isfinite(self.freedom):
            return replace(self, confidence=confidence)
        half = (self.high - self.low) / 2 * _ratio(self, 0.5 + confidence / 2)
        return replace(self, low=self.mean - half, high=self.mean + half, confidence=confidence)

    @property
    def known(self) -> bool:
        """Whether there are enough replicates for an interval."""
        return math.isfinite(self.low)

    def needed(self) -> int | None:
        """Return how many replicates of each side tell a difference this large with 80 % probability.

        None without an interval, and if more than 1000 are needed.
        """
        return replicates_needed(self.mean, self.sd, paired=self.paired) if self.known else None


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
    """Return the interval of the mean of paired differences (Student)."""
    values = np.asarray(differences)
    n, mean = len(values), float(np.mean(values))
    if n < 2:
        return Difference(mean, -math.inf, math.inf, n, n, True, math.nan)
    sd = float(values.std(ddof=1))
    if sd == 0:  # scipy warns about equal values and gives no interval
        return Difference(mean, mean, mean, n, n, True, sd)
    from scipy.stats import ttest_1samp

    with _nearly_equal_values():
        interval = ttest_1samp(values, 0.0).confidence_interval(CONFIDENCE)
    return Difference(mean, float(interval.low), float(interval.high), n, n, True, sd, n - 1)


def _welch(a: NDArray[np.float64], b: NDArray[np.float64]) -> Difference:
    mean = float(a.mean() - b.mean())
    if len(a) < 2 or len(b) < 2:
        return Difference(mean, -math.inf, math.inf, len(a), len(b), False, math.nan)
    sd = math.sqrt(a.var(ddof=1) + b.var(ddof=1))
    if sd == 0:
        return Difference(mean, mean, mean, len(a), len(b), False, sd)
    from scipy.stats import ttest_ind

    with _nearly_equal_values():
        test = ttest_ind(a, b, equal_var=False)
        interval = test.confidence_interval(CONFIDENCE)
    low, high = float(interval.low), float(interval.high)
    return Difference(mean, low, high, len(a), len(b), False, sd, float(test.df))


@contextlib.contextmanager
def _nearly_equal_values() -> Iterator[None]:
    """Silence scipy's warning about values that differ in their last digits: the interval is then tiny."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


def replicates_needed(mean: float, sd: float, *, paired: bool) -> int | None:
    """Return the smallest n whose t-test at 5 % finds a true difference `mean` with 80 % probability.

    `sd` is that of one paired difference, or of a difference of two independent replicates with equal
    spreads. Returns None if more than 1000 are needed.
    """
    from scipy.stats import nct, t

    if sd == 0:
        return 2 if mean else None
    for n in range(2, MAX_REPLICATES + 1):
        # two samples of n have the degrees of freedom of both (Welch's, for equal spreads)
        freedom = n - 1 if paired else 2 * (n - 1)
        critical = float(t.ppf(0.5 + CONFIDENCE / 2, freedom))
        shift = abs(mean) / sd * math.sqrt(n)
        if float(nct.sf(critical, freedom, shift)) >= POWER:
            return n
    return None


def larger(a_minus_b: Difference) -> Verdict:
    """Return the verdict on the claim that A is better than B."""
    if not a_minus_b.known:
        return "cannot be told"
    if a_minus_b.low > 0:
        return "holds"
    return "does not hold" if a_minus_b.high <= 0 else "cannot be told"


def equal(a_minus_b: Difference, margin: float) -> Verdict:
    """Return the verdict on the claim that A and B differ by less than `margin` either way.

    It holds by two one-sided tests (Schuirmann 1987), at 5 % each with a 95 % interval: the 90 % interval
    lies within the margins.
    """
    if not a_minus_b.known:
        return "cannot be told"
    half = (a_minus_b.high - a_minus_b.low) / 2
    if half and math.isfinite(a_minus_b.freedom):
        half *= _ratio(a_minus_b, a_minus_b.confidence)
    if -margin < a_minus_b.mean - half and a_minus_b.mean + half < margin:
        return "holds"
    return (
        "does not hold"
        if a_minus_b.low >= margin or a_minus_b.high <= -margin
        else "cannot be told"
    )


def _ratio(difference: Difference, quantile: float) -> float:
    """Return Student's quantile as a multiple of the one that bounds the difference's interval."""
    from scipy.stats import t

    own = t.ppf(0.5 + difference.confidence / 2, difference.freedom)
    return float(t.ppf(quantile, difference.freedom) / own)
