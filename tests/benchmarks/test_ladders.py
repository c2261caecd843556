"""The benchmarks that choose a ladder's rules, on made-up values."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.image_noise import macro_f1, parts
from benchmarks.ladder_replay import by_rank, by_regression, climb
from benchmarks.ladders import configuration
from benchmarks.selection import RULES, draw, measure


def test_a_configuration_depends_on_its_number_alone() -> None:
    assert configuration("cnn", 3) == configuration("cnn", 3) != configuration("cnn", 4)
    assert configuration("mlp", 3)["arch"] == "mlp"


def test_a_replay_trains_few_and_finds_the_best_where_the_order_agrees() -> None:
    values = np.array(
        [[0.90, 0.93, 0.95], [0.91, 0.94, 0.96], [0.92, 0.95, 0.97], [0.89, 0.9, 0.9]]
    )
    features = np.empty((4, 0))
    assert climb(values, features, np.empty((0, 3)), (0.5, 0.25), by_rank) == (2, [4, 2, 1])
    # other ladders show that a low start ends high: the regression turns the order round
    others = np.array([[0.90 + i / 100, 0.95, 0.99 - i / 100] for i in range(8)])
    winner, _ = climb(values, features, others, (0.25, 0.25), by_regression)
    assert winner == 3


def test_the_parts_of_the_noise_are_told_apart() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 8, 1200)
    wrong = (labels + 1) % 8
    own = rng.random((4, 1, 1200)) < 0.05  # images that a configuration fails with every seed
    per_seed = rng.random((4, 3, 1200)) < 0.05
    shared = parts(labels, np.where(np.repeat(own, 3, axis=1), wrong, labels))
    assert shared["seeds"] == pytest.approx(0.0, abs=1e-12)
    assert 0.004 < shared["images"] < 0.009
    seeds = parts(labels, np.where(per_seed, wrong, labels))
    assert seeds["images"] < 0.5 * shared["images"]
    assert macro_f1(labels, labels) == pytest.approx(1.0)


def test_rules_of_selection_run_the_real_code() -> None:
    scene = draw(8, 0.2, np.random.default_rng(0))
    for name, rule in RULES.items():
        choice = rule(scene)
        assert 0 <= choice.winner < 8, name
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.selection.REPETITIONS", 60)
        alone, five = (measure(name, 8, 0.0) for name in ("search value alone", "all, 5 seeds"))
    assert five["regret"] < alone["regret"]
    assert five["trainings"] == 40
