"""Find ranges at one end of which most of the best trials are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from scipy.stats import binom

from ...studies import PARAMETERS
from .gather import ReportTrial, Space
from .importance import position

N_TOP = 8
"""The trials whose positions in the ranges are looked at: as many as a second stage takes by default."""
EDGE = 0.1
"""The part of a range that counts as its end."""
CHANCE = 0.01
"""The probability below which that many of the best trials at one end are not luck."""


def crowded_ends(best: Sequence[ReportTrial], space: Space) -> list[str]:
    """Describe each end that holds more of the best trials than chance would put there.

    `best` holds complete trials of the search, best first. Ends that cannot be widened are left out.
    """
    crowded = []
    for parameter, distribution in space.items():
        values = [t.searched[parameter] for t in best if parameter in t.searched][:N_TOP]
        share = _end_share(distribution)
        if share is None:
            continue
        places = [position(distribution, value) for value in values]
        for end, n in (
            ("lower", sum(place <= EDGE for place in places)),
            ("upper", sum(place >= 1 - EDGE for place in places)),
        ):
            unlikely = binom.sf(n - 1, len(values), share) < CHANCE
            if n and unlikely and not _natural_limit(parameter, distribution, end):
                crowded.append(f"{n} of the best {len(values)} have {parameter} at its {end} end")
    return crowded


def _end_share(distribution: BaseDistribution) -> float | None:
    """Return the share of a range that its end is; None where every value is an end, or has no order."""
    if isinstance(distribution, CategoricalDistribution):
        n = len(distribution.choices)
        if n < 3 or any(type(choice) not in (int, float) for choice in distribution.choices):
            return None
        return 1 / n
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if distribution.step is None:
        return EDGE
    n = round((distribution.high - distribution.low) / distribution.step) + 1
    if n < 3:
        return None
    if distribution.log:
        # on a logarithmic axis the lowest of few integers fills more than its share
        return max(EDGE, 1 / math.log2(2 * n))
    return (math.floor(EDGE * (n - 1)) + 1) / n


def _natural_limit(parameter: str, distribution: BaseDistribution, end: str) -> bool:
    """Return whether the range ends where the parameter itself does, so it cannot be widened."""
    limits = PARAMETERS[parameter]
    if isinstance(distribution, CategoricalDistribution):
        numbers = [c for c in distribution.choices if isinstance(c, int | float)]
        low, high = min(numbers), max(numbers)
    else:
        assert isinstance(distribution, IntDistribution | FloatDistribution)
        low, high = distribution.low, distribution.high
    if end == "lower":
        return low == 0 or (limits.low is not None and low <= limits.low)
    return limits.high is not None and high >= limits.high
