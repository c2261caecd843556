"""Warm start: the best points of an earlier study are tried first in a new one."""

from __future__ import annotations

import optuna
from optuna.trial import TrialState

from search.errors import RefusedError
from search.space import searched
from search.storage import Storage
from search.study import enqueue, info, load

N_POINTS = 8


def warm_start(storage: Storage, study: optuna.Study, other_name: str) -> int:
    """Queue the best N_POINTS complete trials of `other_name` that lie in this study's space.

    They count towards the budget. Returns how many were queued: none if they were before. Raises
    StorageError when there is no such study, RefusedError when no point of it fits.
    """
    other = load(storage, other_name)
    study_file = info(study).study_file
    complete = other.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    best = sorted(complete, key=lambda trial: (-(trial.value or 0.0), trial.number))
    points = [(trial.number, trial.user_attrs["params"]) for trial in best]
    fitting = [(number, point) for number, point in points if searched(point, study_file)]
    if not fitting:
        raise RefusedError(
            f"none of the {len(points)} complete trials of {other_name!r} lies in the space of "
            f"{study.study_name!r}; start without --from-study, or widen the space"
        )
    with storage.lock():
        if any("from_study" in trial.user_attrs for trial in study.get_trials(deepcopy=False)):
            return 0
        for number, point in fitting[:N_POINTS]:
            enqueue(study, study_file, point, from_study=other_name, from_trial=number)
    return len(fitting[:N_POINTS])
