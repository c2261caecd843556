"""What TPE makes of models that could not be trained."""

from __future__ import annotations

import optuna
import pytest
from optuna.samplers._tpe.sampler import _split_trials
from optuna.trial import FrozenTrial, TrialState, create_trial

from bloodsearch.search.sampling.study_view import StudyView

OLD = {"stop_reason": "diverged: loss nan in epoch 4"}


def pruned(values: dict[int, float], **attrs: str) -> FrozenTrial:
    return create_trial(state=TrialState.PRUNED, intermediate_values=values, user_attrs=attrs)


@pytest.mark.parametrize(
    "attrs", [{"ending": "diverged"}, {"ending": "too_costly"}, {"ending": "out_of_memory"}, OLD]
)
def test_model_that_could_not_be_trained_is_the_worst(attrs: dict[str, str]) -> None:
    """TPE once ranked it best of the pruned ones, for its last step."""
    study = optuna.create_study(direction="maximize")
    study.add_trial(pruned({1: 0.5, 2: 0.5, 3: 0.6, 4: 0.0}, **attrs))
    study.add_trial(pruned({1: 0.2}, ending="pruned"))
    study.add_trial(pruned({1: 0.3, 2: 0.4}, ending="pruned"))
    view = StudyView(study.study_name, study._storage)
    trials = view.get_trials(deepcopy=False)
    below, above = _split_trials(view, trials, 2)
    assert sorted(trial.number for trial in below) == [1, 2]
    assert [trial.number for trial in above] == [0]
    assert study.trials[0].intermediate_values[3] == 0.6  # the study itself keeps its reports
