"""Warm start: try the best points of an earlier study early in a new one."""

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
    """Queue the best N_POINTS points of the study `other_name` that `study` has not trained.

    Only points in this study's space and within its limits are queued; they count towards the budget.
    Returns how many were queued: 0 if a call before has queued all, the rest if it was interrupted.
    Raises StorageError if the other study does not exist, RefusedError if it is this study or none of its
    points fits.
    """
    if other_name == study.study_name:
        raise RefusedError(
            f"--from-study names the study {other_name!r} itself; leave it out, or name an earlier study"
        )
    other = load(storage, other_name)
    study_file = info(study).study_file
    limits = study_file.search
    complete = other.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    best = sorted(complete, key=lambda trial: (-(trial.value or 0.0), trial.number))
    fitting: dict[str, tuple[int, Params]] = {}  # a configuration with several seeds is one point
    for trial in best:
        params = trial_record(trial).params
        point = transferred(params, study_file) if params else None  # None: another program's trial
        if point and within(trial, limits.max_params, limits.max_latency_ms, unknown=0):
            fitting.setdefault(_key(point), (trial.number, point))
    if not fitting:
        raise RefusedError(
            f"none of the {len(best)} complete trials of {other_name!r} lies in the space and the limits of "
            f"{study.study_name!r}; start without --from-study, or widen the space"
        )
    with storage.lock():
        queued, trained = set[int | None](), set[str]()
        for record in map(trial_record, study.get_trials(deepcopy=False)):
            if record.from_study == other_name:
                queued.add(record.from_trial)
            elif (params := record.params or record.point) is not None:
                trained.add(_key(transferred(params, study_file)))
        wanted = [(n, point) for key, (n, point) in fitting.items() if key not in trained]
        # a trial that became one of the best since the first call adds nothing: the call is repeatable
        new = [row for row in wanted[:N_POINTS] if row[0] not in queued][: N_POINTS - len(queued)]
        for number, point in new:
            enqueue(study, study_file, point, from_study=other_name, from_trial=number)
    return len(new)


def _key(point: Params) -> str:
    return repr(sorted(point.items()))
