"""A grid's stop rules, read from curves, and what its choices were worth."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
from optuna.trial import create_trial
from report_support import MakeStudy

from bloodsearch.search.course.grid_effects import (
    RATED,
    STOP,
    Effect,
    Point,
    effects,
    levels,
    points,
)
from bloodsearch.search.course.stop_rules import RULES, Rule, Stop, stop
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.report.gather import ReportTrial, gather

CURVE = [0.1, 0.5, 0.4, 0.5, 0.3, 0.2, 0.6]
PARAMS = {"arch": "cnn", "optimizer": "sgd", "lr": 1.0, "sgd_lr": 1e-3, "loss": "nll"} | {
    "batch_size": 64,
    "cnn_width": 8,
    "cnn_dropout": 0.3,
}


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        (Rule(epochs=1), Stop(0.1, 1, 1)),
        (Rule(epochs=3), Stop(0.4, 3, 3)),  # the model of that epoch, not the best so far
        (Rule(epochs=7), Stop(0.6, 7, 7)),
        (Rule(epochs=8), None),
        (Rule(patience=1), Stop(0.5, 2, 3, by_patience=True)),
        (Rule(patience=4), Stop(0.5, 2, 6, by_patience=True)),  # equal is not better
        (Rule(patience=5), Stop(0.6, 7, 7)),
    ],
)
def test_stop_rules_read_from_a_curve(rule: Rule, found: Stop | None) -> None:
    assert stop(CURVE, rule) == found


def test_without_an_epoch_there_is_nothing_to_keep() -> None:
    assert [stop([], rule) for rule in RULES] == [None] * 4


def test_a_points_choices_in_words() -> None:
    found = levels(PARAMS, ["cnn_width", "cnn_dropout", "loss"])
    assert found == {
        "optimizer": "SGD",
        "learning rate": "0.001",
        "loss": "nll",
        "batch size": "64",
        "size": "8-16-32",
        "cnn_dropout": "0.3",
    }
    mlp = levels(PARAMS | {"arch": "mlp", "mlp_width": 256, "optimizer": "adam"})
    assert (mlp["size"], mlp["learning rate"]) == ("1 x 256", "1")


@pytest.fixture
def trial(storage: Storage, make_study: MakeStudy) -> ReportTrial:
    return gather(storage, make_study([0.9]), None).complete[0]


def point(trial: ReportTrial, optimizer: str, loss: str, value: float) -> Point:
    early, short = RULES[-1], RULES[0]
    stops = {short: Stop(value - 0.2, 5, 5), early: Stop(value, 9, 14, by_patience=True)}
    return Point(trial, {"optimizer": optimizer, "loss": loss, "batch size": "64"}, stops)


def by_level(found: list[Effect]) -> dict[tuple[str, str], Effect]:
    return {(e.choice, e.level): e for e in found}


def test_effects_are_paired_with_the_reports_choice(trial: ReportTrial) -> None:
    worth = {"Adam": 0.9, "AdamW": 0.89, "SGD": 0.7, "plain": 0.0, "weighted": 0.04}
    mine = [
        point(trial, optimizer, loss, worth[optimizer] + worth[loss])
        for optimizer, loss in itertools.product(("Adam", "AdamW", "SGD"), ("plain", "weighted"))
    ]
    report = {trial.family: {"optimizer": "Adam", "loss": "weighted", "batch size": "64"}}
    found = by_level(effects(mine, report))
    # a choice without alternatives was worth nothing
    assert {choice for choice, _ in found} == {"optimizer", "loss", STOP}
    assert found["optimizer", "SGD"].values == pytest.approx([0.7, 0.74])
    assert found["optimizer", "SGD"].differences == pytest.approx([-0.2, -0.2])
    assert found["optimizer", "AdamW"].against == "Adam"
    assert found["optimizer", "Adam"].differences == []
    assert found["loss", "plain"].differences == pytest.approx([-0.04] * 3)
    assert found[STOP, "5 epochs"].differences == pytest.approx([-0.2] * 6)
    assert found[STOP, "patience 5"].against is None

    # a learning rate means another thing to another optimizer
    rated = [
        dataclasses.replace(p, levels=p.levels | {"learning rate": rate})
        for p in mine
        for rate in ("0.1", "1")
    ]
    own = {trial.family: report[trial.family] | {"learning rate": "1"}}
    both = {
        level: e for (choice, level), e in by_level(effects(rated, own)).items() if choice == RATED
    }
    assert list(both) == [f"{o} {r}" for o in ("Adam", "AdamW", "SGD") for r in ("0.1", "1")]
    assert both["SGD 0.1"].differences == pytest.approx([-0.2, -0.2])
    assert both["Adam 0.1"].against == "Adam 1"
    assert both["Adam 1"].differences == []

    # a missing point costs its pair, nothing else
    found = by_level(effects(mine[:-1], report))
    assert found["optimizer", "SGD"].differences == pytest.approx([-0.2])
    # what the grid lacks is not compared with
    found = by_level(effects(mine, {trial.family: {"optimizer": "focal"}}))
    assert found["optimizer", "SGD"].against is None
    assert found["optimizer", "SGD"].differences == []


def test_points_are_the_complete_trials_in_order(storage: Storage, make_study: MakeStudy) -> None:
    grid = gather(storage, make_study([0.6, None, 0.9]), None)
    found = points(grid)
    assert [p.trial.number for p in found] == [0, 2]
    assert found[0].stops == {RULES[-1]: Stop(0.6, 3, 3)}  # three epochs: too short for the others


def test_a_trial_of_another_program_is_no_point(storage: Storage, make_study: MakeStudy) -> None:
    """Its learning rate may be unknown."""
    study = make_study([0.8])
    study.add_trial(create_trial(value=0.9, intermediate_values={1: 0.5, 2: 0.9}))
    assert [p.trial.number for p in points(gather(storage, study, None))] == [0]
