"""Each check of the search space speaks up when something is wrong, and only when trials can tell."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from report_support import MakeStudy, fake_trial

from bloodsearch.search.database.storage import Storage
from bloodsearch.search.report import health
from bloodsearch.search.report.class_figures import confused_pairs
from bloodsearch.search.report.edges import crowded_ends
from bloodsearch.search.report.gather import Gathered, gather, report_trial
from bloodsearch.search.report.importance import Importance, importances, position
from bloodsearch.search.report.progress_figures import frontier

CONSTANT = {"schedule": "constant", "epochs": 3}
ONE_CYCLE = {"schedule": "one_cycle", "epochs": 3}
LOW = [0.5 + i / 1000 for i in range(20)]
"""Values of as many trials as the checks need."""


def check(study: Gathered, name: str, shares: list[Importance] | None = None) -> health.Check:
    return {c.name: c for c in health.checks(study, shares or [])}[name]


def names(study: Gathered) -> list[str]:
    return [c.name for c in health.checks(study, [])]


@pytest.mark.parametrize("values", [[], [None] * 30, [0.9], [0.5, 0.9] * 9 + [0.7]])
def test_small_studies_get_no_advice(
    storage: Storage, make_study: MakeStudy, values: list[float | None]
) -> None:
    assert health.checks(gather(storage, make_study(values), None), []) == []


def test_baselines_do_not_count_as_searched(storage: Storage, make_study: MakeStudy) -> None:
    study = make_study(LOW[:19])
    for number in range(19, 25):
        fake_trial(study, number, 0.9, baseline="A-cnn")
    gathered = gather(storage, study, None)
    assert len(gathered.searched) == 19
    assert health.checks(gathered, []) == []


def test_the_number_of_searched_trials_is_counted_and_not_guessed(
    storage: Storage, make_study: MakeStudy
) -> None:
    """It said "0 complete trials with searched parameters" with six of them."""
    study = make_study(LOW[:6] + [None] * 14)
    assert (
        "6 complete trials of the search"
        in check(gather(storage, study, None), "idle parameters").finding
    )


def test_an_edge_needs_many_of_the_best_there(storage: Storage, make_study: MakeStudy) -> None:
    study = make_study(LOW)
    fake_trial(study, 0, 0.99)  # number 0 is at the lower end of lr
    assert check(gather(storage, study, None), "edges of the ranges").status == "good"
    for _ in range(4):
        fake_trial(study, 0, 0.99)
    found = check(gather(storage, study, None), "edges of the ranges")
    assert (found.status, found.advice) == ("look", "widen these ranges on that side")
    assert "of the best 8 have lr at its lower end" in found.finding


@pytest.mark.parametrize(
    ("parameter", "distribution", "value", "n", "crowded"),
    [
        ("batch_size", CategoricalDistribution([64, 128, 256]), 64, 1, False),
        ("batch_size", CategoricalDistribution([64, 128, 256]), 64, 5, False),
        ("batch_size", CategoricalDistribution([64, 128, 256]), 64, 8, True),
        ("batch_size", CategoricalDistribution([64, 128]), 64, 8, False),  # each is an end
        ("cnn_head", CategoricalDistribution(["flatten", "mean", "max"]), "max", 8, False),
        ("cnn_width", IntDistribution(16, 24, step=8), 24, 8, False),
        ("cnn_width", IntDistribution(16, 32, step=8), 32, 8, True),
        ("label_smoothing", FloatDistribution(0, 0.2), 0.001, 8, False),  # cannot be below 0
        ("label_smoothing", FloatDistribution(0, 0.2), 0.199, 8, True),
        ("mlp_depth", IntDistribution(0, 3), 0, 8, False),  # nor this
        # four steps, though 0.6 / 0.2 is below 3 in floats
        ("mlp_dropout", FloatDistribution(0.1, 0.7, step=0.2), 0.7, 6, True),
        # of eleven steps two are in the last tenth
        ("mlp_width", IntDistribution(10, 20), 20, 4, False),
    ],
)
def test_which_ends_are_crowded(
    storage: Storage,
    make_study: MakeStudy,
    parameter: str,
    distribution: Any,
    value: Any,
    n: int,
    crowded: bool,
) -> None:
    others = {
        "batch_size": 128,
        "cnn_head": "mean",
        "cnn_width": 16,
        "mlp_depth": 2,
        "mlp_width": 15,
    }
    other = others.get(parameter, 0.1)
    trials = [
        optuna.trial.create_trial(
            value=0.9, params={parameter: v}, distributions={parameter: distribution}
        )
        for v in [value] * n + [other] * (8 - n)
    ]
    space = {parameter: distribution}
    assert bool(crowded_ends([report_trial(t, space) for t in trials], space)) == crowded


@pytest.mark.parametrize(
    ("reason", "words", "advice"),
    [
        ("diverged: loss nan", "4 diverged", "learning rates"),
        ("out of memory: 3 GB", "4 ran out of memory", "batch size"),
        ("too costly: 9 parameters, at most 5", "4 were too costly", "limits"),
    ],
)
def test_each_frequent_early_end_has_its_own_advice(
    storage: Storage, make_study: MakeStudy, reason: str, words: str, advice: str
) -> None:
    study = make_study(LOW)
    assert check(gather(storage, study, None), "endings").status == "good"
    for number in range(4):
        fake_trial(study, number, None, stop_reason=reason)
    found = check(gather(storage, study, None), "endings")
    assert found.status == "look"
    assert advice in found.advice
    assert words in found.finding


def test_without_variance_nothing_is_important(storage: Storage, make_study: MakeStudy) -> None:
    """As in a study of replicates: one configuration, many values."""
    study = make_study([])
    for value in range(12):
        study.add_trial(
            optuna.trial.create_trial(
                value=0.9 + value / 1000,
                params={"cnn_width": 2},
                distributions={"cnn_width": CategoricalDistribution((2, 4))},
                user_attrs={"params": {"arch": "cnn", "cnn_width": 2}, "family": "cnn"},
            )
        )
    gathered = gather(storage, study, None)
    assert len(gathered.searched) == 12
    assert importances(gathered.complete, gathered.space) == []


def test_only_constant_rates_can_ask_for_more_epochs(
    storage: Storage, make_study: MakeStudy
) -> None:
    """A schedule that ends at zero is best at its end by design: the advice took itself back."""
    assert "curves at the end" not in names(
        gather(storage, make_study(LOW, config=ONE_CYCLE), None)
    )


def test_rising_curves(storage: Storage, make_study: MakeStudy) -> None:
    study = make_study(LOW, config=CONSTANT)
    found = check(gather(storage, study, None), "curves at the end")
    assert (found.status, found.advice) == ("look", "train for more epochs")
    for number in range(8):
        fake_trial(study, number, 0.9, best_epoch=2)
    assert check(gather(storage, study, None), "curves at the end").status == "good"


def test_ties_name_the_command_that_compares(storage: Storage, make_study: MakeStudy) -> None:
    found = check(gather(storage, make_study([0.900, 0.899, *LOW[:18]]), None), "ties")
    assert "2 trials are within" in found.finding
    assert "`bloodsearch compare tiny:0 tiny:1 --replicates 3`" in found.advice


def test_families_far_apart_at_equal_epochs(storage: Storage, make_study: MakeStudy) -> None:
    found = check(gather(storage, make_study([0.6, 0.9] * 10), None), "families")
    assert found.status == "look"
    assert "50% of the trials went to mlp: drop it from `space.arch`" in found.advice


@pytest.mark.parametrize(
    ("mlp_epochs", "n"), [(10, 20), (3, 14)], ids=["other epochs", "7 of each"]
)
def test_families_are_compared_only_at_equal_epochs_and_with_enough_trials(
    storage: Storage, make_study: MakeStudy, mlp_epochs: int, n: int
) -> None:
    study = make_study([None] * (20 - n))
    for number in range(n):
        family_epochs = 3 if number % 2 else mlp_epochs
        fake_trial(study, number, 0.9 if number % 2 else 0.6, config={"epochs": family_epochs})
    found = check(gather(storage, study, None), "families")
    assert (found.status, found.advice) == ("too few trials", "")


def test_baselines_are_compared_after_equal_epochs(storage: Storage, make_study: MakeStudy) -> None:
    """Trials of three epochs lost against a baseline of 35, and "rethink the space" was the advice."""
    study = make_study([0.5] * 20)
    rising = [min(0.95, 0.1 * epoch) for epoch in range(1, 36)]
    fake_trial(study, 21, 0.95, baseline="A-cnn", epochs=35, curve=rising)
    found = check(gather(storage, study, None), "baselines")
    assert (found.status, found.advice) == ("good", "")
    assert "0.2000 above baseline 20 (A-cnn) after at most 3 epochs" in found.finding


def test_a_baseline_that_is_better_after_equal_epochs(
    storage: Storage, make_study: MakeStudy
) -> None:
    study = make_study(LOW)
    fake_trial(study, 21, 0.95, baseline="A-cnn")
    found = check(gather(storage, study, None), "baselines")
    assert found.status == "look"
    assert "below baseline 20 (A-cnn) after at most 3 epochs" in found.finding


def test_an_idle_parameter(storage: Storage, make_study: MakeStudy) -> None:
    study = gather(storage, make_study(LOW), None)
    few = Importance("all trials", 8, {"lr": 0.99, "shift": 0.01}, {"lr": 0.0, "shift": 0.0})
    many = Importance("all trials", 40, few.mean, few.sd)
    assert check(study, "idle parameters", [few]).status == "too few trials"
    assert check(study, "idle parameters", [many]).finding.endswith("group: shift")


def test_failures_name_the_command_with_the_traceback(
    storage: Storage, make_study: MakeStudy
) -> None:
    study = make_study(LOW)
    study.add_trial(optuna.trial.create_trial(state=optuna.trial.TrialState.FAIL))
    found = check(gather(storage, study, None), "endings")
    assert "`bloodsearch show 20 --name tiny`" in found.advice


def test_pruner_that_nearly_cost_one_of_the_best(storage: Storage, make_study: MakeStudy) -> None:
    study = make_study(LOW)
    assert check(gather(storage, study, None), "pruner's audit").status == "too few trials"
    fake_trial(study, 12, 0.4, audit="below its peers")
    found = check(gather(storage, study, None), "pruner's audit")
    assert (found.status, "stopped 1 audited trial," in found.finding) == ("good", True)
    fake_trial(study, 13, 0.95, audit="below its peers")
    found = check(gather(storage, study, None), "pruner's audit")
    assert found.status == "look"
    assert "1 of 2 are among the best 8" in found.finding


@pytest.mark.parametrize(
    ("total", "n_points", "advice"),
    [(54, 26, "random"), (27, 26, "nearly exhausted"), (None, 26, "random"), (54, 29, "")],
)
def test_a_space_is_exhausted_only_when_it_is(
    storage: Storage,
    make_study: MakeStudy,
    monkeypatch: pytest.MonkeyPatch,
    total: int | None,
    n_points: int,
    advice: str,
) -> None:
    """It said so when 28 of 54 points were untried."""
    points: list[dict[str, object]] | None = None if total is None else [{}] * total
    monkeypatch.setattr(health, "finite_points", lambda _: points)
    study = make_study([])
    for number in range(30):
        point = {"arch": "mlp", "mlp_width": min(number, n_points - 1)}
        fake_trial(study, number, 0.9, params=point)
    found = check(gather(storage, study, None), "duplicates")
    assert advice in found.advice
    assert bool(found.advice) == bool(advice)
    if total == 54 and advice:
        assert "28 of 54 points are untried" in found.finding


def test_importance_finds_the_deciding_parameter(storage: Storage, make_study: MakeStudy) -> None:
    # the families alternate, and only the family decides
    study = gather(storage, make_study([0.5, 0.9] * 10), None)
    shares = importances(study.complete, study.space)
    assert next(iter(shares[0].mean)) == "arch"
    assert shares[0].mean["arch"] > 0.8
    assert importances([], study.space) == []


def test_the_frontier_holds_the_unbeaten(storage: Storage, make_study: MakeStudy) -> None:
    study = gather(storage, make_study([0.5, 0.4, 0.7, 0.6]), None)
    assert [t.number for t in frontier(study.complete, "n_parameters")] == [0, 2]


def test_positions_in_ranges() -> None:
    log = FloatDistribution(1e-4, 1e-2, log=True)
    assert position(log, 1e-3) == pytest.approx(0.5)
    assert position(IntDistribution(1, 5), 2) == 0.25
    assert position(CategoricalDistribution([4, 2, 8]), 8) == 1


def test_confused_pairs_are_the_largest_errors() -> None:
    import numpy as np

    counts = np.eye(8, dtype=np.int64) * 100
    counts[2, 5], counts[7, 0] = 4, 9
    assert confused_pairs(counts) == [(7, 0, 9), (2, 5, 4)]
    assert confused_pairs(np.eye(8, dtype=np.int64)) == []
