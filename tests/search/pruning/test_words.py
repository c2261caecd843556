"""Pruned trials in a few words, by the sentences of both rules and of earlier versions."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState, create_trial

from bloodsearch.search.api.events import TrialEnded
from bloodsearch.search.evaluation.leaderboard import standing
from bloodsearch.search.pruning.forecast import Forecast
from bloodsearch.search.pruning.peers import Peer
from bloodsearch.search.pruning.quantile import Quantile
from bloodsearch.search.pruning.words import short_reason
from bloodsearch.studies.sections import Pruner

OLD = "best of 1 epochs 0.5068 has a chance of 1.4% to reach 0.9098, number 1 of 10 trials, as 4 mlp trials"
NEW = "best 0.7405 by epoch 2; 2.3% chance of reaching 0.9098 (rank 10 of 98), judged from 20 cnn trials"


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        (OLD, "1.4 % chance of the top 10 %"),
        (NEW, "2.3 % chance of the top 10 %"),
        ("best 0.9; below 0.9150, the 50% quantile of 3 cnn trials", "below the median of 3 cnn trials"),
        ("below 0.9150, the 25% quantile of 3 cnn trials", "below the 25 % quantile of 3 cnn trials"),
        ("its peers left it behind", "its peers left it behind"),
        ("x" * 99, "x" * 56 + " ..."),
    ],
)  # fmt: skip
def test_one_thing(detail: str, expected: str) -> None:
    assert short_reason(detail) == expected


@pytest.mark.parametrize("rule", [Forecast, Quantile])
def test_what_the_rules_say_today_is_known(rule: type) -> None:
    settings = Pruner(warmup_epochs=1, min_peers=4, chance=0.5)
    judge = rule(settings, lambda family: 3) if rule is Forecast else rule(settings)
    judge.learn([Peer("cnn", True, {1: 0.5, 2: 0.6, 3: 0.9 + i / 100}) for i in range(6)])
    verdict = judge.verdict("cnn", 1, 0.1, None)
    assert verdict is not None
    assert short_reason(verdict) != verdict
    assert len(short_reason(verdict)) < 40


def test_a_pruned_trial_is_one_short_line() -> None:
    attrs = {"family": "cnn", "ending": "pruned", "detail": NEW, "epochs": 2}
    trial = create_trial(state=TrialState.PRUNED, value=0.7, user_attrs=attrs)
    trial.number = 63
    line = str(TrialEnded(standing(trial), "trial", 5, 100, 0.9, False))
    assert line == "trial   63  cnn  pruned at epoch 2: 2.3 % chance of the top 10 %"


def test_other_ends_name_their_cause() -> None:
    diverged = create_trial(
        state=TrialState.PRUNED, value=0.0, user_attrs={"ending": "diverged", "detail": "loss nan in epoch 2"}
    )  # fmt: skip
    assert standing(diverged).short_end == "diverged: loss nan in epoch 2"
    failed = create_trial(
        state=TrialState.FAIL, user_attrs={"ending": "failed", "detail": "ValueError: x"}
    )
    assert standing(failed).short_end == "failed: ValueError: x"


def test_a_finalist_has_the_number_of_its_trial() -> None:
    attrs = {"family": "cnn", "replicate_of": 4, "epochs": 60, "seconds": 12.0}
    trial = create_trial(state=TrialState.COMPLETE, value=0.939, user_attrs=attrs)
    line = str(TrialEnded(standing(trial), "replicate", 1, 5, None, False, 0.939, 1))
    assert line.startswith("replicate of trial    4  cnn  0.9390   60 epochs")
    assert line.endswith("mean so far 0.9390 (n = 1)")
