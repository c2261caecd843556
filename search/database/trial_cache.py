"""A worker's view of the other trials of its study.

Optuna's cache (5.0.0) reads all rows of every unfinished trial again whenever a sampler or a pruner asks.
With 1,000 workers each one reads 1,000 running trials every few seconds. But a sampler needs only the
parameters of a running trial, which are written once, and a pruner needs finished trials only.
"""

from __future__ import annotations

import dataclasses
from typing import cast

import sqlalchemy as sa
from optuna.storages._cached_storage import _CachedStorage, _StudyInfo
from optuna.trial import TrialState

from .optuna_rows import trials_table
from .storage import Storage


class TrialCache(_CachedStorage):
    """Optuna's cache, except that a list of trials has old reports for trials that still run.

    A running trial is read until it has parameters, and again once its state has changed. `get_trial` reads
    every trial that has not finished, as before.
    """

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        states = self._unfinished(study_id)
        with self._lock:
            study = self._studies.setdefault(study_id, _StudyInfo())
            unchanged = {
                trial_id
                for trial_id in study.unfinished_trial_ids
                if self._is_unchanged(trial_id, states.get(trial_id))
            }
            study.unfinished_trial_ids -= unchanged
        try:
            super()._read_trials_from_remote_storage(study_id)
        finally:
            with self._lock:
                study.unfinished_trial_ids |= unchanged
        with self._lock:
            # Optuna reads all trials behind this one again; those that have not finished are listed above
            study.last_finished_trial_id = max(
                study.last_finished_trial_id, *study.unfinished_trial_ids, -1
            )

    def _unfinished(self, study_id: int) -> dict[int, TrialState]:
        t = trials_table.c
        unfinished = t.state.in_((TrialState.RUNNING, TrialState.WAITING))
        query = sa.select(t.trial_id, t.state).where(t.study_id == study_id, unfinished)
        with self._backend.engine.connect() as db:
            return {row.trial_id: row.state for row in db.execute(query)}

    def _is_unchanged(self, trial_id: int, state: TrialState | None) -> bool:
        study_id, number = self._trial_id_to_study_id_and_number[trial_id]
        cached = self._studies[study_id].trials[number]
        return state is cached.state and (state is TrialState.WAITING or bool(cached.params))


def with_trial_cache(storage: Storage) -> Storage:
    """Return `storage` for a worker: the same database, with a TrialCache."""
    backend = cast(_CachedStorage, storage.optuna)._backend
    return dataclasses.replace(storage, optuna=TrialCache(backend))
