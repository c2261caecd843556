"""A worker's list of trials: new, ended and put back trials are read, running ones only once."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.database.storage import Storage
from bloodsearch.search.database.trial_cache import with_trial_cache
from bloodsearch.search.study import create_or_resume, load

LEARNING_RATE = optuna.distributions.FloatDistribution(0.0, 1.0)


@pytest.fixture
def study(storage: Storage) -> optuna.Study:
    """The study as another worker writes it."""
    return create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)


@pytest.fixture
def seen(storage: Storage, study: optuna.Study) -> optuna.Study:
    """The same study as this worker sees it."""
    return load(with_trial_cache(storage), "tiny")


def content(trials: list[FrozenTrial]) -> list[tuple[object, ...]]:
    return [(t.number, t.state, t.values, t.params, t.user_attrs) for t in trials]


def same(seen: optuna.Study, study: optuna.Study) -> bool:
    return content(seen.get_trials()) == content(study.get_trials())


def test_list_is_the_one_of_optuna_at_every_step(study: optuna.Study, seen: optuna.Study) -> None:
    assert same(seen, study)
    first, second = study.ask(), study.ask()
    assert same(seen, study)
    for trial in (first, second):
        trial.suggest_float("lr", 0.0, 1.0)
    assert same(seen, study)
    third = study.ask({"lr": LEARNING_RATE})
    study.tell(second, 0.5)
    assert same(seen, study)
    first.set_user_attr("why", "stopped")
    study.tell(first, state=TrialState.PRUNED)
    study.enqueue_trial({"lr": 0.25})
    assert same(seen, study)
    queued = study.ask({"lr": LEARNING_RATE})
    assert same(seen, study)
    study.tell(queued, 0.75)
    study.tell(third, state=TrialState.FAIL)
    assert same(seen, study)


def test_running_trial_is_read_once(
    storage: Storage, study: optuna.Study, seen: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And so is one that is younger than every finished trial."""
    trials = [study.ask({"lr": LEARNING_RATE}) for _ in range(3)]
    study.tell(trials[1], 0.5)
    seen.get_trials()
    read: list[object] = []
    backend = storage.optuna._backend  # type: ignore[attr-defined]
    build = backend._build_frozen_trial_from_trial_model

    def count(model: optuna.storages._rdb.models.TrialModel) -> FrozenTrial:
        read.append(model.number)
        trial: FrozenTrial = build(model)
        return trial

    monkeypatch.setattr(backend, "_build_frozen_trial_from_trial_model", count)
    seen.get_trials()
    assert read == []
    trials[0].report(0.5, 1)
    study.tell(trials[0], 0.75)
    read.clear()  # Optuna reads the trial to write it
    assert [t.intermediate_values for t in seen.get_trials()] == [{1: 0.5}, {}, {}]
    assert read == [0]


def test_an_outage_does_not_freeze_running_trials(
    storage: Storage, study: optuna.Study, seen: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = study.ask({"lr": LEARNING_RATE})
    seen.get_trials()

    def away(*args: object, **kwargs: object) -> list[FrozenTrial]:
        raise optuna.exceptions.StorageInternalError

    with monkeypatch.context() as down:
        down.setattr(storage.optuna._backend, "_get_trials", away)  # type: ignore[attr-defined]
        with pytest.raises(optuna.exceptions.StorageInternalError):
            seen.get_trials()
    study.tell(trial, 0.5)
    assert same(seen, study)


def test_single_running_trial_is_always_read(study: optuna.Study, seen: optuna.Study) -> None:
    trial = study.ask({"lr": LEARNING_RATE})
    seen.get_trials()
    trial.report(0.5, 1)
    stored = seen._storage.get_trial(trial._trial_id)
    assert stored.intermediate_values == {1: 0.5}
