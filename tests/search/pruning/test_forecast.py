"""The chance that a training ends above a bar, from its peers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t
from sklearn.linear_model import LinearRegression

from bloodsearch.search.pruning import forecast
from bloodsearch.search.pruning.forecast import (
    CALIBRATION,
    Examples,
    Forecast,
    calibrated,
    chance,
    seen,
)
from bloodsearch.search.pruning.peers import Peer
from bloodsearch.studies import PrunerSettings

BEST = np.array([0.6, 0.65, 0.7, 0.8, 0.85, 0.9, 0.92])
LOSSES = [(1.0, 0.9), (1.1, 0.7), (0.8, 0.8), (0.6, 0.7), (0.5, 0.4), (0.45, 0.3), (0.4, 0.35)]
FINAL = np.array([0.85, 0.82, 0.91, 0.92, 0.93, 0.95, 0.97])
PEERS = np.array([seen(best, losses) for best, losses in zip(BEST, LOSSES, strict=True)])


@pytest.mark.parametrize("columns", [1, 3])
def test_with_hardly_a_prior_it_is_the_prediction_of_a_linear_regression(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setattr(forecast, "SHRINKAGE", 1e-9)
    # the conjugate prior counts no degree of freedom for the slopes
    monkeypatch.setattr(forecast, "PRIOR_WEIGHT", -columns)
    monkeypatch.setattr(forecast, "PRIOR_SD", 0.0)
    rows, own, n = PEERS[:, :columns], seen(0.75, (0.7, 0.6))[:columns], len(PEERS)
    errors = np.log(1 - FINAL)
    line = LinearRegression().fit(rows, errors)
    design = np.column_stack([np.ones(n), rows])
    row = np.array([1, *own])
    freedom = n - columns - 1
    squares = ((errors - line.predict(rows)) ** 2).sum() / freedom
    spread = np.sqrt(squares * (1 + row @ np.linalg.inv(design.T @ design) @ row))
    for bar in (0.85, 0.9, 0.93, 0.96):
        away = np.log(1 - bar) - line.predict(own[None])[0]
        assert chance(own, rows, FINAL, bar) == pytest.approx(t.cdf(away / spread, freedom))


def test_it_grows_with_the_value_and_falls_with_the_loss_and_the_bar() -> None:
    by_value = [
        chance(seen(own, None), PEERS[:, :1], FINAL, 0.95) for own in (0.3, 0.6, 0.8, 0.9, 0.95)
    ]
    by_loss = [chance(seen(0.8, (loss, loss)), PEERS, FINAL, 0.95) for loss in (0.3, 0.5, 0.7, 0.9)]
    by_bar = [chance(seen(0.8, None), PEERS[:, :1], FINAL, bar) for bar in (0.85, 0.9, 0.95, 0.99)]
    assert by_value == sorted(by_value)
    assert by_loss == sorted(by_loss, reverse=True)
    assert by_bar == sorted(by_bar, reverse=True)
    assert by_value[0] < 0.05 < 0.5 < by_value[-1]


def test_few_peers_on_a_line_are_not_believed_blindly() -> None:
    line = 1 - (1 - BEST) / 3  # a third of the error is left, always
    few = chance(seen(0.7, None), PEERS[:2, :1], line[:2], 0.93)
    many = chance(seen(0.7, None), np.repeat(PEERS[:, :1], 20, axis=0), np.repeat(line, 20), 0.93)
    assert few > 0.1
    assert many < 0.01


@pytest.mark.parametrize("own", [0.0, 0.7, 1.0])
def test_peers_without_any_scatter_and_values_at_the_ends_give_a_probability(own: float) -> None:
    same = np.full((5, 1), -1.0)
    assert 0 <= chance(seen(own, None), same, np.full(5, 1.0), 1.0) <= 1
    assert 0 <= chance(seen(own, None), same, np.full(5, 0.9), 0.95) <= 1


def test_examples_that_ended_early_stay_where_they_ended() -> None:
    examples = Examples()
    examples.add([Peer("cnn", True, {1: 0.5}, [0.9], [0.8])])
    examples.add([Peer("cnn", True, {1: 0.6, 2: 0.2, 3: 0.7}, [0.6, 0.5, 0.4], [0.3, 0.2, 0.1])])
    for epoch, losses in ((2, (0.5, 0.2)), (3, (0.4, 0.1)), (9, (0.4, 0.1))):
        rows, final = examples.at(epoch, 3)
        best = 0.6 if epoch == 2 else 0.7
        assert np.exp(rows) == pytest.approx(np.array([(0.5, 0.9, 0.8), (1 - best, *losses)]))
        assert list(final) == [0.5, 0.7]


def test_examples_are_those_of_which_enough_is_known() -> None:
    examples = Examples()
    assert len(examples.at(1, 3)[0]) == 0
    examples.add([Peer("cnn", True, {2: 0.5}), Peer("cnn", True, {1: 0.7}, [0.9], [0.8])])
    assert [len(examples.at(epoch, 1)[0]) for epoch in (1, 2)] == [1, 2]  # the first begins late
    assert [len(examples.at(epoch, 3)[0]) for epoch in (1, 2)] == [1, 1]  # and has no losses


def test_the_correction_of_a_stated_chance() -> None:
    assert calibrated(0.2, 0.5, (0.0, 1.0, 0.0)) == pytest.approx(0.2)
    own = [0.002, 0.01, 0.03, 0.3, 0.9]
    stated = [calibrated(chance, 0.4, CALIBRATION["cnn"]) for chance in own]
    assert stated == sorted(stated)  # it never turns an order round
    # of CNNs at the model's 1 % to 3 %, 3.2 % reached the bar
    assert calibrated(0.019, 0.5, CALIBRATION["cnn"]) == pytest.approx(0.05, abs=0.02)
    assert calibrated(0.0, 0.5, CALIBRATION["cnn"]) > 0


def test_the_models_own_chance_decides_and_the_corrected_one_is_stated() -> None:
    settings = PrunerSettings(name="forecast", min_peers=4, chance=0.03, top=0.2)
    rule = Forecast(settings, lambda family: 4)
    for i in range(12):
        values = {epoch: 0.7 + 0.02 * epoch + 0.01 * i for epoch in range(1, 5)}
        rule.learn([Peer("cnn", True, values)])
    own = 0.72
    judged = rule.judge("cnn", 2, own, None)
    assert judged is not None
    assert judged.raw < 0.03
    said = rule.verdict("cnn", 2, own, None)
    assert said is not None
    assert said.startswith(
        f"{calibrated(judged.raw, 0.5, CALIBRATION['cnn']):.1%} chance of reaching"
    )


def test_a_longer_training_does_not_set_the_bar() -> None:
    """A baseline with forty epochs of its own ends where no training of four can."""
    settings = PrunerSettings(name="forecast", min_peers=4, chance=0.03, top=0.2)
    rules = [Forecast(settings, lambda family: 4) for _ in range(2)]
    for rule in rules:
        for i in range(12):
            values = {epoch: 0.7 + 0.02 * epoch + 0.01 * i for epoch in range(1, 5)}
            rule.learn([Peer("cnn", True, values)])
    longer = [Peer("cnn", True, dict.fromkeys(range(1, 41), 0.99)) for _ in range(3)]
    rules[1].learn([*longer, Peer("cnn", False, {})])
    rules[0].learn([Peer("cnn", False, {})])
    judged = [rule.judge("cnn", 2, 0.72, None) for rule in rules]
    assert judged[0] == judged[1]
    assert judged[0] is not None
    assert judged[0].bar < 0.9
