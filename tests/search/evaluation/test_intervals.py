"""Differences over replicates: the intervals are scipy's, and verdicts follow from them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bloodsearch.search.evaluation.intervals import (
    Difference,
    difference,
    equal,
    larger,
    paired_difference,
    replicates_needed,
)

A = {1: 0.91, 2: 0.93, 3: 0.92, 4: 0.95}
B = {1: 0.90, 2: 0.91, 3: 0.91, 4: 0.92}


def test_common_seeds_are_paired() -> None:
    found = difference(A, {**B, 9: 0.5})  # a seed that only one side has does not count
    oracle = stats.ttest_rel(list(A.values()), list(B.values())).confidence_interval(0.95)
    assert found.paired
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high))
    assert found.mean == pytest.approx(0.0175)


def test_other_seeds_are_not() -> None:
    b = {seed + 10: value for seed, value in B.items()}
    found = difference(A, b)
    oracle = stats.ttest_ind(list(A.values()), list(b.values()), equal_var=False)
    interval = oracle.confidence_interval(0.95)
    assert not found.paired
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_one_replicate_tells_nothing() -> None:
    for found in (difference({1: 0.9}, {1: 0.8}), difference({1: 0.9}, {2: 0.8, 3: 0.7})):
        assert not found.known
        assert larger(found) == equal(found, 1.0) == "cannot be told"
        assert found.needed() is None


def of(low: float, high: float) -> Difference:
    return Difference((low + high) / 2, low, high, 3, 3, True, 0.01)


@pytest.mark.parametrize(
    ("low", "high", "is_larger", "is_equal"),
    [
        (0.01, 0.03, "holds", "does not hold"),
        (-0.03, -0.01, "does not hold", "does not hold"),
        (-0.001, 0.002, "cannot be told", "holds"),
        (-0.02, 0.03, "cannot be told", "cannot be told"),
        (0.001, 0.004, "holds", "holds"),
        (0.0, 0.0, "does not hold", "holds"),
    ],
)
def test_verdicts(low: float, high: float, is_larger: str, is_equal: str) -> None:
    assert larger(of(low, high)) == is_larger
    assert equal(of(low, high), 0.005) == is_equal


def test_identical_replicates_are_equal() -> None:
    found = paired_difference([0.0, 0.0, 0.0])
    assert (found.low, found.high) == (0.0, 0.0)
    assert equal(found, 0.005) == "holds"


@pytest.mark.parametrize("paired", [True, False])
def test_the_needed_replicates_have_the_promised_power(paired: bool) -> None:
    """The smallest number does, by simulation: one less has not."""
    n = replicates_needed(0.01, 0.01, paired=paired)
    assert n is not None
    for size, enough in ((n, True), (n - 1, False)):
        rng = np.random.default_rng(0)
        if paired:
            p = stats.ttest_1samp(rng.normal(0.01, 0.01, (20_000, size)), 0, axis=1)
        else:
            sd = 0.01 / math.sqrt(2)  # of each side
            a, b = rng.normal(0.01, sd, (20_000, size)), rng.normal(0, sd, (20_000, size))
            p = stats.ttest_ind(a, b, axis=1, equal_var=False)
        power = float(((p.pvalue < 0.05) & (p.statistic > 0)).mean())
        assert (power >= 0.79) == enough, (size, power)
    # an effect twice as large takes fewer; one of nothing takes for ever
    assert (replicates_needed(0.02, 0.01, paired=paired) or 0) < n
    assert replicates_needed(0.0001, 0.01, paired=paired) is None
    assert replicates_needed(0.0, 0.0, paired=paired) is None


def test_differences_that_differ_in_their_last_digits_warn_nobody() -> None:
    """scipy warns of lost precision, and pytest makes an error of it."""
    found = paired_difference([0.1, 0.1 + 1e-16, 0.1])
    assert found.low <= found.mean <= found.high
    assert found.high - found.low < 1e-12


def test_equality_is_two_one_sided_tests() -> None:
    """The claim holds when both tests at 5 % say so, which is when the 90 % interval is inside."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        values = rng.normal(0.001, 0.004, 5)
        below = stats.ttest_1samp(values, -0.005, alternative="greater").pvalue
        above = stats.ttest_1samp(values, 0.005, alternative="less").pvalue
        holds = equal(paired_difference(values.tolist()), 0.005) == "holds"
        assert holds == (max(below, above) < 0.05)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.99])
def test_an_interval_of_another_confidence_is_scipys(confidence: float) -> None:
    values = [0.01, 0.03, 0.02, 0.05]
    found = paired_difference(values).at(confidence)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(confidence)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.at(0.95).low == pytest.approx(paired_difference(values).low)
    assert paired_difference([0.01]).at(confidence).low == -math.inf


def test_equality_asks_more_of_a_wider_interval() -> None:
    """The one-sided tests have the level of the interval: 5 % at 95 %, 0.1 % at 99.9 %."""
    close = paired_difference([0.001, 0.002, 0.0, 0.001])
    assert equal(close, 0.005) == "holds"
    assert equal(close.at(0.999), 0.005) == "cannot be told"
