"""Stored records: today's, those of earlier versions, and trials of another program."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from bloodsearch.search.records import (
    Ending,
    StudyRecord,
    attributes,
    end_attributes,
    split_attributes,
    stop_reason,
    study_record,
    trial_record,
)


def trial(state: TrialState, **attrs: Any) -> FrozenTrial:
    value = 0.5 if state is TrialState.COMPLETE else None
    return create_trial(state=state, value=value, user_attrs=attrs)


EARLIER = [
    (TrialState.COMPLETE, "all epochs trained", Ending.COMPLETED, ""),
    (TrialState.COMPLETE, "patience", Ending.EARLY_STOPPED, ""),
    (TrialState.PRUNED, "pruned: best of 3 epochs", Ending.PRUNED, "best of 3 epochs"),
    (TrialState.PRUNED, "diverged: loss nan", Ending.DIVERGED, "loss nan"),
    (TrialState.PRUNED, "out of memory: 3: 4", Ending.OUT_OF_MEMORY, "3: 4"),
    (TrialState.PRUNED, "too costly: 9 weights", Ending.TOO_COSTLY, "9 weights"),
    (TrialState.FAIL, "poison: 3 workers died on it", Ending.POISON, "3 workers died on it"),
    (TrialState.FAIL, "ValueError: diverged: no", Ending.FAILED, "ValueError: diverged: no"),
]


@pytest.mark.parametrize(("state", "prose", "ending", "detail"), EARLIER)
def test_the_prose_of_earlier_versions(
    state: TrialState, prose: str, ending: Ending, detail: str
) -> None:
    old = trial_record(trial(state, stop_reason=prose))
    assert (old.ending, old.detail, old.stop_reason) == (ending, detail, prose)
    new = trial_record(trial(state, **end_attributes(ending, detail)))
    assert (new.ending, new.detail, new.stop_reason) == (ending, detail, prose)


@pytest.mark.parametrize("ending", Ending)
def test_every_ending_has_words(ending: Ending) -> None:
    assert isinstance(stop_reason(ending, ""), str)
    assert "_" not in stop_reason(ending, "x")


def test_a_trial_of_another_program() -> None:
    client = create_trial(
        params={"lr": 0.1},
        distributions={"lr": optuna.distributions.FloatDistribution(0.01, 1.0)},
        value=0.9,
    )
    record = trial_record(client)
    assert (record.value, record.ending, record.stop_reason) == (
        0.9,
        Ending.COMPLETED,
        "all epochs trained",
    )
    assert record.params is None
    assert record.shown_params == {"lr": 0.1}
    assert not record.trained


def test_attributes_of_another_program_under_our_names() -> None:
    record = trial_record(
        trial(
            TrialState.COMPLETE, seed="a", params=3, ending=["x"], family="cnn", versions={"a": 1}
        )
    )
    assert (record.seed, record.params, record.versions) == (None, None, None)
    assert (record.family, record.ending) == ("cnn", Ending.COMPLETED)


def test_the_state_counts_where_the_attributes_contradict_it() -> None:
    told_complete = trial(TrialState.COMPLETE, **end_attributes(Ending.DIVERGED, "x"))
    assert trial_record(told_complete).ending is Ending.COMPLETED
    queued_again = create_trial(
        state=TrialState.WAITING, user_attrs=end_attributes(Ending.FAILED, "x")
    )
    assert trial_record(queued_again).ending is Ending.WAITING
    assert trial_record(queued_again).stop_reason == ""


def test_a_study_of_another_program() -> None:
    study = optuna.create_study()
    assert study_record(study) == StudyRecord()
    study.set_user_attr("ready", "yes, very")
    study.set_user_attr("n_trials", 3)
    assert not study_record(study).ready
    assert study_record(study).n_trials == 3


def test_long_attributes_are_read_from_out_of_sight_and_from_where_they_were() -> None:
    everything: dict[str, Any] = {"family": "cnn", "epochs": 2, "params": {"lr": 0.1}}
    everything |= {
        "confusion": [[1, 0], [0, 1]],
        "train_losses": [0.5, 0.25],
        "ending": "completed",
    }
    columns, hidden = split_attributes(everything)
    assert set(columns) == {"family", "epochs", "ending"}
    new = create_trial(value=0.5, user_attrs=columns, system_attrs=hidden)
    old = trial(TrialState.COMPLETE, **everything)
    assert attributes(new) == attributes(old) == everything
    assert trial_record(new).train_losses == trial_record(old).train_losses == [0.5, 0.25]


@pytest.mark.parametrize("planted", [3, "x", [1], None])
def test_what_another_program_stores_out_of_sight_is_ignored(planted: object) -> None:
    odd = create_trial(
        value=0.5, user_attrs={"family": "mlp"}, system_attrs={"bloodsearch:record": planted}
    )
    assert attributes(odd) == {"family": "mlp"}
