"""Each check of the search space says so when something is wrong, and is content when nothing is."""

from __future__ import annotations

import optuna
import pytest
from report_support import MakeStudy, fake_trial

from bloodsearch.search.database.storage import Storage
from bloodsearch.search.report import health
from bloodsearch.search.report.class_figures import confused_pairs
from bloodsearch.search.report.gather import Gathered, gather
from bloodsearch.search.report.importance import Importance, importances, position
from bloodsearch.search.report.progress_figures import frontier


def found(study: Gathered, shares: list[Importance] | None = None) -> dict[str, health.Check]:
    return {check.name: check for check in health.checks(study, shares or [])}


@pytest.fixture
def storage_url(sqlite_url: str) -> str:
    return sqlite_url


def test_a_winner_at_an_edge(storage: Storage, make_study: MakeStudy) -> None:
    study = make_study([0.5, 0.6])
    # number 0 sits at the lower end of lr, whatever its value
    fake_trial(study, 0, 0.99)
    check = found(gather(storage, study, None))["edges of the ranges"]
    assert check.status == "look"
    assert "lr = 0.0001 at the lower end" in check.found
    fake_trial(study, 1, 0.995)
    assert found(gather(storage, study, None))["edges of the ranges"].status == "good"


def test_each_of_two_values_is_an_end_and_no_reason_to_look(
    storage: Storage, make_study: MakeStudy
) -> None:
    study = make_study([0.5, 0.6])

    def add(low: int, high: int) -> str:
        study.add_trial(
            optuna.trial.create_trial(
                value=0.99 + len(study.trials) / 1000,
                params={"cnn_blocks": high},
                distributions={
                    "cnn_blocks": optuna.distributions.IntDistribution(low, high, step=8)
                },
                user_attrs=study.trials[0].user_attrs,
            )
        )
        return found(gather(storage, study, None))["edges of the ranges"].status

    assert (add(16, 24), add(16, 32)) == ("good", "look")


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("diverged: loss nan", "learning rates"),
        ("out of memory: 3 GB", "batch size"),
        ("too costly: 9 parameters, at most 5", "limits"),
    ],
)
def test_what_often_ended_trials_early_has_an_advice_of_its_own(
    storage: Storage, make_study: MakeStudy, reason: str, advice: str
) -> None:
    study = make_study([0.5, 0.6, 0.7])
    assert found(gather(storage, study, None))["endings"].status == "good"
    fake_trial(study, 3, None, stop_reason=reason)
    check = found(gather(storage, study, None))["endings"]
    assert check.status == "look"
    assert advice in check.advice
    assert f"1 {reason.split(':')[0]}" in check.found


def test_without_variance_nothing_is_important(storage: Storage, make_study: MakeStudy) -> None:
    """As in a study of replicates: one configuration, many values."""
    study = make_study([])
    for value in range(12):
        study.add_trial(
            optuna.trial.create_trial(
                value=0.9 + value / 1000,
                params={"cnn_blocks": 2},
                distributions={"cnn_blocks": optuna.distributions.IntDistribution(1, 4)},
                user_attrs={"params": {"arch": "cnn", "cnn_blocks": 2}, "family": "cnn"},
            )
        )
    assert importances(gather(storage, study, None).complete) == []


def test_rising_curves(storage: Storage, make_study: MakeStudy) -> None:
    study = make_study([0.5, 0.6, 0.7])
    check = found(gather(storage, study, None))["curves at the end"]
    assert (check.status, check.advice) == ("look", "try more epochs")
    for number in range(3, 8):
        fake_trial(study, number, 0.9, best_epoch=2)
    assert found(gather(storage, study, None))["curves at the end"].status == "good"


def test_ties_and_families(storage: Storage, make_study: MakeStudy) -> None:
    seen = gather(storage, make_study([0.60, 0.900, 0.61, 0.899, 0.62, 0.70]), None)
    checks = found(seen)
    assert "2 trials lie within" in checks["ties"].found
    assert "`bloodsearch compare tiny:1 tiny:3 --replicates 3`" in checks["ties"].advice
    assert "50% of the trials went to mlp" in checks["families"].advice


def test_five_trials_say_nothing_of_the_families(storage: Storage, make_study: MakeStudy) -> None:
    checks = found(gather(storage, make_study([0.60, 0.900, 0.61, 0.899, 0.62]), None))
    assert checks["families"].status == "too few trials"


def test_an_idle_parameter(storage: Storage, make_study: MakeStudy) -> None:
    seen = gather(storage, make_study([0.5]), None)
    few = Importance("all trials", 8, {"lr": 0.99, "shift": 0.01}, {"lr": 0.0, "shift": 0.0})
    many = Importance("all trials", 40, few.mean, few.sd)
    assert found(seen, [few])["idle parameters"].status == "too few trials"
    assert found(seen, [many])["idle parameters"].found.endswith("everywhere: shift")


def test_divergence_and_failures(storage: Storage, make_study: MakeStudy) -> None:
    study = make_study([0.5, 0.6])
    fake_trial(study, 2, None, stop_reason="diverged: loss nan")
    assert "learning rates" in found(gather(storage, study, None))["endings"].advice


def test_pruner_that_nearly_cost_one_of_the_best(storage: Storage, make_study: MakeStudy) -> None:
    study = make_study([0.5, 0.6])
    assert found(gather(storage, study, None))["pruner's audit"].status == "too few trials"
    for number in range(2, 12):
        fake_trial(study, number, 0.9)
    fake_trial(study, 12, 0.4, audit="below its peers")
    check = found(gather(storage, study, None))["pruner's audit"]
    assert (check.status, check.found[:8]) == ("good", "1 trials")
    fake_trial(study, 13, 0.95, audit="below its peers")
    check = found(gather(storage, study, None))["pruner's audit"]
    assert check.status == "look"
    assert "1 of them are among the best 8" in check.found


def test_importance_finds_what_matters(storage: Storage, make_study: MakeStudy) -> None:
    # the families alternate, and only the family decides
    values: list[float | None] = [0.5 if n % 2 == 0 else 0.9 for n in range(20)]
    shares = importances(gather(storage, make_study(values), None).complete)
    assert next(iter(shares[0].mean)) == "arch"
    assert shares[0].mean["arch"] > 0.8
    assert importances([]) == []


def test_the_frontier_holds_what_nothing_beats(storage: Storage, make_study: MakeStudy) -> None:
    seen = gather(storage, make_study([0.5, 0.4, 0.7, 0.6]), None)
    assert [t.number for t in frontier(seen.complete, "n_parameters")] == [0, 2]


def test_positions_in_ranges() -> None:
    log = optuna.distributions.FloatDistribution(1e-4, 1e-2, log=True)
    assert position(log, 1e-3) == pytest.approx(0.5)
    assert position(optuna.distributions.IntDistribution(1, 5), 2) == 0.25
    assert position(optuna.distributions.CategoricalDistribution([4, 2, 8]), 8) == 1


def test_confused_pairs_are_the_largest_errors() -> None:
    import numpy as np

    counts = np.eye(8, dtype=np.int64) * 100
    counts[2, 5], counts[7, 0] = 4, 9
    assert confused_pairs(counts) == [(7, 0, 9), (2, 5, 4)]
    assert confused_pairs(np.eye(8, dtype=np.int64)) == []
