"""Warm start between studies of one database."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState, create_trial
from tests_support import FINGERPRINT, tiny_study

from search.errors import RefusedError, StorageError
from search.storage import Storage
from search.study import create_or_resume
from search.warm import N_POINTS, warm_start


def point(lr: float) -> dict[str, object]:
    return {"arch": "mlp", "optimizer": "adam", "lr": lr, "mlp_width": 8}


def earlier(storage: Storage, lrs: list[float]) -> None:
    """A study whose trials are better the larger their learning rate."""
    study = create_or_resume(storage, "earlier", tiny_study(), FINGERPRINT)
    for lr in lrs:
        study.add_trial(
            create_trial(state=TrialState.COMPLETE, value=lr, user_attrs={"params": point(lr)})
        )


def test_best_points_that_fit_come_first_once(storage: Storage) -> None:
    earlier(storage, [0.001 * (i + 1) for i in range(20)])
    space = dict(tiny_study().space) | {"lr": {"low": 1e-4, "high": 0.0155, "log": True}}
    file = tiny_study(name="later", space={k: _plain(v) for k, v in space.items()})
    study = create_or_resume(storage, "later", file, FINGERPRINT)
    assert warm_start(storage, study, "earlier") == N_POINTS
    assert warm_start(storage, study, "earlier") == 0
    queued = [trial.user_attrs["point"]["lr"] for trial in study.trials]
    assert queued == pytest.approx([0.001 * i for i in range(15, 15 - N_POINTS, -1)])
    assert {trial.state for trial in study.trials} == {TrialState.WAITING}
    assert study.trials[0].user_attrs["from_trial"] == 14


def _plain(entry: object) -> object:
    return list(entry) if isinstance(entry, tuple) else entry


def test_study_without_a_fitting_point_is_refused(storage: Storage) -> None:
    earlier(storage, [0.05])
    space = {"arch": "cnn", "optimizer": "adam", "lr": 1e-3, "cnn_width": [2, 4]}
    study = create_or_resume(storage, "later", tiny_study(name="later", space=space), FINGERPRINT)
    with pytest.raises(RefusedError, match="none of the 1 complete trials of 'earlier'"):
        warm_start(storage, study, "earlier")
    with pytest.raises(StorageError, match="no study 'other'"):
        warm_start(storage, study, "other")
    assert study.trials == []
