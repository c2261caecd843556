"""How likely a training that is at `own` now is to end above a bar, from trainings that ended.

A linear regression of the final value on the value so far, both as the logarithm of the error (1 - macro-F1):
errors shrink by factors, and their scatter is even on that scale. This is the performance prediction of
Baker et al., "Accelerating Neural Architecture Search using Performance Prediction" (arXiv 1705.10823), with
one regressor and Student's t in place of cross-validated residuals, so that few peers mean a wide interval.
Which peers were stopped early depends on their values so far only, so those that ended are a fair sample
for the regression of the end on the way.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

Values = NDArray[np.float64]

LEAST_ERROR = 1e-4
PRIOR_SD, PRIOR_WEIGHT = 0.2, 2
"""Scatter of the final log error before any peer was seen, and the number of peers that this is worth: three
peers that happen to lie on a line must not promise a forecast without error."""
MAX_SLOPE = 1.5
"""Of the final log error per log error so far: few peers must not extrapolate wildly."""


def chance(own: float, so_far: Values, final: Values, bar: float) -> float:
    """Probability that a training whose value is `own` ends at `bar` or above.

    `so_far` and `final`, both of shape (n,), n >= 2, hold its peers' values
    at the same epoch and at their ends.
    """
    x, y = _log_error(so_far), _log_error(final)
    middle = float(x.mean())
    scatter = float(((x - middle) ** 2).sum())
    slope = float(((x - middle) * (y - y.mean())).sum()) / scatter if scatter > 0 else 0.0
    slope = min(max(slope, 0.0), MAX_SLOPE)
    residuals = y - y.mean() - slope * (x - middle)
    freedom = len(x) - 2 + PRIOR_WEIGHT
    variance = (float((residuals**2).sum()) + PRIOR_WEIGHT * PRIOR_SD**2) / freedom
    away = float(_log_error(own)) - middle
    expected = float(y.mean()) + slope * away
    spread = variance * (1 + 1 / len(x) + (away**2 / scatter if scatter > 0 else 0.0))
    # a smaller error is a better end
    return float(stdtr(freedom, (float(_log_error(bar)) - expected) / np.sqrt(spread)))


def _log_error(values: Values | float) -> Values:
    return np.asarray(np.log(np.maximum(1 - np.asarray(values, dtype=float), LEAST_ERROR)))
