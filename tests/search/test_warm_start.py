"""Warm start between studies of one database."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.database.storage import Storage
from bloodsearch.search.errors import RefusedError, StorageError
from bloodsearch.search.study import create_or_resume
from bloodsearch.search.warm_start import N_POINTS, warm_start


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


def add(study: optuna.Study, value: float, params: dict[str, object], **attrs: object) -> None:
    given = {"params": params, **attrs}
    study.add_trial(create_trial(state=TrialState.COMPLETE, value=value, user_attrs=given))


def test_a_point_is_what_the_new_space_makes_of_it(storage: Storage) -> None:
    """Its old epochs would compare a long training with short ones; what is not named must agree."""
    old = create_or_resume(storage, "earlier", tiny_study(), FINGERPRINT)
    add(old, 0.9, point(0.001) | {"epochs": 60, "patience": 3})
    add(old, 0.8, point(0.002) | {"loss": "focal"})
    add(old, 0.7, point(0.003) | {"loss": "cross_entropy", "augment": "none"})
    add(old, 0.6, point(0.004) | {"augment": "dihedral"})
    study = create_or_resume(storage, "later", tiny_study(name="later"), FINGERPRINT)
    assert warm_start(storage, study, "earlier") == 2
    assert [trial.user_attrs["point"] for trial in study.trials] == [point(0.001), point(0.003)]


def test_one_configuration_is_one_point_and_keeps_to_the_limits(storage: Storage) -> None:
    old = create_or_resume(storage, "earlier", tiny_study(), FINGERPRINT)
    for _ in range(3):
        add(old, 0.9, point(0.001), n_parameters=90, latency_ms=0.5)
    add(old, 0.8, point(0.002), n_parameters=200, latency_ms=0.5)
    add(old, 0.7, point(0.003), n_parameters=90, latency_ms=5.0)
    file = tiny_study(name="later", search={"max_params": 100, "max_latency_ms": 1.0})
    study = create_or_resume(storage, "later", file, FINGERPRINT)
    assert warm_start(storage, study, "earlier") == 1
    assert study.trials[0].user_attrs["from_trial"] == 0


def test_an_interrupted_warm_start_goes_on(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier(storage, [0.001 * (i + 1) for i in range(10)])
    study = create_or_resume(storage, "later", tiny_study(name="later"), FINGERPRINT)
    with monkeypatch.context() as patch:
        patch.setattr("bloodsearch.search.warm_start.N_POINTS", 3)
        assert warm_start(storage, study, "earlier") == 3
    assert warm_start(storage, study, "earlier") == N_POINTS - 3
    numbers = [trial.user_attrs["from_trial"] for trial in study.trials]
    assert numbers == [9, 8, 7, 6, 5, 4, 3, 2]
    # a better one there since: the same command adds nothing here
    add(optuna.load_study(study_name="earlier", storage=storage.optuna), 0.99, point(0.09))
    assert warm_start(storage, study, "earlier") == 0


def test_study_without_a_fitting_point_is_refused(storage: Storage) -> None:
    earlier(storage, [0.05])
    space = {"arch": "cnn", "optimizer": "adam", "lr": 1e-3, "cnn_width": [2, 4]}
    study = create_or_resume(storage, "later", tiny_study(name="later", space=space), FINGERPRINT)
    with pytest.raises(RefusedError, match="none of the 1 complete trials of 'earlier'"):
        warm_start(storage, study, "earlier")
    with pytest.raises(StorageError, match="no study 'other'"):
        warm_start(storage, study, "other")
    assert study.trials == []


def test_from_itself_is_refused(storage: Storage) -> None:
    earlier(storage, [0.001, 0.002])
    study = create_or_resume(storage, "earlier", tiny_study(), FINGERPRINT)
    with pytest.raises(RefusedError, match="names the study 'earlier' itself"):
        warm_start(storage, study, "earlier")
    assert len(study.trials) == 2


def test_points_that_the_study_has_trained_are_left_out(storage: Storage) -> None:
    earlier(storage, [0.001 * (i + 1) for i in range(10)])
    study = create_or_resume(storage, "later", tiny_study(name="later"), FINGERPRINT)
    add(study, 0.5, point(0.01))
    assert warm_start(storage, study, "earlier") == N_POINTS
    queued = [trial.user_attrs["point"]["lr"] for trial in study.trials[1:]]
    assert queued == pytest.approx([0.001 * i for i in range(9, 1, -1)])
    assert warm_start(storage, study, "earlier") == 0
