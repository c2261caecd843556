"""Sampling all parameters of a trial with one write; Optuna takes a transaction for each."""

from __future__ import annotations

import contextlib
from typing import Any, cast

import optuna
import sqlalchemy as sa

from search.optuna_rows import params_table, write_attrs
from search.space import Params, suggest
from studies import StudyFile


def suggest_at_once(engine: sa.Engine, trial: optuna.Trial, study_file: StudyFile) -> Params:
    """Sample every parameter that exists for this trial and store the new ones together.

    With them goes the user attribute `family`, by which the pruner finds a trial's peers. Safe to repeat
    after an outage.
    """
    buffer = _ParamBuffer(trial.storage)
    trial.storage = cast("optuna.storages.BaseStorage", buffer)
    try:
        params = suggest(trial, study_file)
    finally:
        trial.storage = buffer.storage
    # written already, by an attempt whose answer got lost: the same values, from the same seed
    with contextlib.suppress(sa.exc.IntegrityError):
        if buffer.rows:
            with engine.begin() as db:
                db.execute(sa.insert(params_table), buffer.rows)
                write_attrs(db, trial._trial_id, {"family": params["arch"]})
    return params


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
