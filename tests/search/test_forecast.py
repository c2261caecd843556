"""The chance that a training ends above a bar, from its peers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import linregress, t

from search import forecast
from search.forecast import chance

SO_FAR = np.array([0.6, 0.65, 0.7, 0.8, 0.85, 0.9, 0.92])
FINAL = np.array([0.85, 0.82, 0.91, 0.92, 0.93, 0.95, 0.97])


def test_without_a_prior_it_is_the_prediction_of_a_linear_regression(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forecast, "PRIOR_WEIGHT", 0)
    x, y = np.log(1 - SO_FAR), np.log(1 - FINAL)
    line, n = linregress(x, y), len(x)
    away = np.log(1 - 0.75) - x.mean()
    residuals = y - line.intercept - line.slope * x
    scatter = ((x - x.mean()) ** 2).sum()
    spread = np.sqrt((residuals**2).sum() / (n - 2) * (1 + 1 / n + away**2 / scatter))
    expected = line.intercept + line.slope * np.log(1 - 0.75)
    for bar in (0.85, 0.9, 0.93, 0.96):
        found = chance(0.75, SO_FAR, FINAL, bar)
        assert found == pytest.approx(t.cdf((np.log(1 - bar) - expected) / spread, n - 2))


def test_it_grows_with_the_value_and_falls_with_the_bar() -> None:
    by_value = [chance(own, SO_FAR, FINAL, 0.95) for own in (0.3, 0.6, 0.8, 0.9, 0.95)]
    by_bar = [chance(0.8, SO_FAR, FINAL, bar) for bar in (0.85, 0.9, 0.95, 0.99)]
    assert by_value == sorted(by_value)
    assert by_bar == sorted(by_bar, reverse=True)
    assert by_value[0] < 0.05 < 0.5 < by_value[-1]


def test_few_peers_on_a_line_are_not_believed_blindly() -> None:
    line = 1 - (1 - SO_FAR) / 3  # a third of the error is left, always
    few = chance(0.7, SO_FAR[:2], line[:2], 0.93)
    many = chance(0.7, np.repeat(SO_FAR, 20), np.repeat(line, 20), 0.93)
    assert few > 0.1
    assert many < 0.01


@pytest.mark.parametrize("own", [0.0, 0.7, 1.0])
def test_peers_without_any_scatter_and_values_at_the_ends_give_a_probability(own: float) -> None:
    same = np.full(5, 0.7)
    assert 0 <= chance(own, same, np.full(5, 1.0), 1.0) <= 1
    assert 0 <= chance(own, same, np.full(5, 0.9), 0.95) <= 1
