"""A study as its sampler sees it."""

from __future__ import annotations

import copy
from collections.abc import Container

import optuna
from optuna.trial import FrozenTrial, TrialState

from ..records import ending_of


class StudyView(optuna.Study):
    """A study in which models that could not be trained have no reports.

    TPE ranks pruned trials by their last step first. A model that diverged after three good epochs would rank
    above one that was pruned after two. TPE ranks a pruned trial without reports last.
    """

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        trials = super()._get_trials(deepcopy, states, use_cache)
        return [_without_reports(trial) if _untrained(trial) else trial for trial in trials]


def _untrained(trial: FrozenTrial) -> bool:
    if trial.state is not TrialState.PRUNED:
        return False
    return ending_of("pruned", trial.user_attrs)[0].untrained


def _without_reports(trial: FrozenTrial) -> FrozenTrial:
    bare = copy.copy(trial)
    bare.intermediate_values = {}
    return bare
