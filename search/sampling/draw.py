"""Sampling all parameters of a trial with one write; Optuna takes a transaction for each."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, cast

import optuna
import sqlalchemy as sa
from optuna.distributions import CategoricalDistribution, IntDistribution

from ...studies import StudyFile
from ..database.optuna_rows import params_table, write_attrs
from .space import Params, suggest

MAX_DRAWS = 50

Accept = Callable[[Params], bool]
Redraw = Callable[[int], optuna.Trial]
"""A fresh view of the same trial whose sampler has another seed, by the number of the draw."""


def suggest_at_once(
    engine: sa.Engine,
    trial: optuna.Trial,
    study_file: StudyFile,
    *,
    redraw: Redraw | None = None,
    accept: Accept = lambda params: True,
) -> Params:
    """Sample every parameter that exists for this trial and store the new ones together.

    With `redraw`, a point that `accept` refuses, or that a trial before this one has, is drawn
    again before anything is stored, MAX_DRAWS times at most; the last one is then taken.
    With them goes the user attribute `family`, by which the pruner finds a trial's peers. Safe to repeat
    after an outage.
    """
    params, rows = _draw(trial, study_file)
    # a queued point is wanted as it is, and so is one that was stored before an interruption
    free = (
        bool(rows) and "fixed_params" not in trial.storage.get_trial(trial._trial_id).system_attrs
    )
    for draw in range(1, MAX_DRAWS):
        if redraw is None or not free or (accept(params) and not _repeats(trial)):
            break
        trial = redraw(draw)
        params, rows = _draw(trial, study_file)
    # written already, by an attempt whose answer got lost: the same values, from the same seed
    with contextlib.suppress(sa.exc.IntegrityError):
        if rows:
            with engine.begin() as db:
                db.execute(sa.insert(params_table), rows)
                write_attrs(db, trial._trial_id, {"family": params["arch"]})
    return params


def _draw(trial: optuna.Trial, study_file: StudyFile) -> tuple[Params, list[dict[str, object]]]:
    """A point, and the rows of those parameters that the storage does not have yet."""
    buffer = _ParamBuffer(trial.storage)
    trial.storage = cast("optuna.storages.BaseStorage", buffer)
    try:
        return suggest(trial, study_file), buffer.rows
    finally:
        trial.storage = buffer.storage


def _repeats(trial: optuna.Trial) -> bool:
    """Whether an earlier trial has the same point. Two draws of a continuous parameter never agree."""
    discrete = (CategoricalDistribution, IntDistribution)
    if not all(isinstance(d, discrete) for d in trial.distributions.values()):
        return False
    earlier = trial.study.get_trials(deepcopy=False)
    return any(other.params == trial.params for other in earlier if other.number < trial.number)


class _ParamBuffer:
    """A storage that keeps a trial's new parameters instead of writing each at once."""

    def __init__(self, storage: optuna.storages.BaseStorage) -> None:
        self.storage = storage
        self.rows: list[dict[str, object]] = []

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: optuna.distributions.BaseDistribution,
    ) -> None:
        self.rows.append(
            {
                "trial_id": trial_id,
                "param_name": param_name,
                "param_value": param_value_internal,
                "distribution_json": optuna.distributions.distribution_to_json(distribution),
            }
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self.storage, name)
