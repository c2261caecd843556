"""Warm start: the best points of an earlier study are tried first in a new one."""

from __future__ import annotations

import optuna
from optuna.trial import TrialState

from .database.storage import Storage
from .errors import RefusedError
from .limits import within
from .records import trial_record
from .sampling.space import Params, transferred
from .study import enqueue, info, load

N_POINTS = 8


def warm_start(storage: Storage, study: optuna.Study, other_name: str) -> int:
    """Queue the best N_POINTS points of `other_name` that lie in this study's space and its limits.

    They count towards the budget. Returns how many were queued: none if they were before, the rest if that
    was interrupted. Raises StorageError when there is no such study, RefusedError when no point of it fits.
    """
    other = load(storage, other_name)
    study_file = info(study).study_file
    limits = study_file.search
    complete = other.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    best = sorted(complete, key=lambda trial: (-(trial.value or 0.0), trial.number))
    fitting: dict[str, tuple[int, Params]] = {}  # a configuration with several seeds is one point
    for trial in best:
        params = trial_record(trial).params  # None: another program's trial
        point = transferred(params, study_file) if params else None
        if point and within(trial, limits.max_params, limits.max_latency_ms, unknown=0):
            fitting.setdefault(repr(sorted(point.items())), (trial.number, point))
    if not fitting:
        raise RefusedError(
            f"none of the {len(best)} complete trials of {other_name!r} lies in the space and the limits of "
            f"{study.study_name!r}; start without --from-study, or widen the space"
        )
    wanted = list(fitting.values())[:N_POINTS]
    with storage.lock():
        known = {
            record.from_trial
            for record in map(trial_record, study.get_trials(deepcopy=False))
            if record.from_study == other_name
        }
        # what became best in the other study since then is not wanted: the same command adds nothing
        new = [found for found in wanted if found[0] not in known][: N_POINTS - len(known)]
        for number, point in new:
            enqueue(study, study_file, point, from_study=other_name, from_trial=number)
    return len(new)
