"""Parameters that only trainings above the search have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.database.storage import Storage
from bloodsearch.search.evaluation.ladder import climb
from bloodsearch.search.evaluation.long_trainings import long_file, long_point
from bloodsearch.search.evaluation.refits import refit_file
from bloodsearch.search.evaluation.selection import replicate_study
from bloodsearch.search.study import create_or_resume, info, load
from bloodsearch.search.workers.leases import Claim, Leases
from bloodsearch.search.workers.liveness import own_identity
from bloodsearch.studies import StudyFile, parse_study

LADDER: dict[str, Any] = {
    "rungs": [{"epochs": 6, "trials": 2}],
    "finalists": 1,
    "keep": ["kept"],
    "params": {"rotate": 180.0, "cnn_dropout": 0.3},
}
TRAINING = {"epochs": 3, "final_epochs": 12}
MLP = {"arch": "mlp", "optimizer": "adam", "lr": 1e-3, "mlp_width": 8}
CNN = {"arch": "cnn", "optimizer": "adam", "lr": 1e-3, "cnn_width": 4}


def study_file(**changes: Any) -> StudyFile:
    return tiny_study(training=TRAINING, ladder=LADDER, **changes)


def ended(params: dict[str, Any], value: float = 0.9, **attrs: Any) -> optuna.trial.FrozenTrial:
    known = {"params": params, **attrs}
    return create_trial(state=TrialState.COMPLETE, value=value, user_attrs=known)


def test_a_sampled_point_gets_what_its_family_has() -> None:
    assert long_point(study_file(), ended(CNN)) == CNN | {"rotate": 180.0, "cnn_dropout": 0.3}
    assert long_point(study_file(), ended(MLP)) == MLP | {"rotate": 180.0}
    assert long_point(tiny_study(), ended(MLP)) == MLP  # a study without a ladder


def test_a_baseline_gets_it_only_if_the_ladder_keeps_it() -> None:
    assert long_point(study_file(), ended(MLP, baseline="of a report")) == MLP
    assert long_point(study_file(), ended(MLP, baseline="kept")) == MLP | {"rotate": 180.0}


@pytest.mark.parametrize("entry", [0.0, [0.0, 15.0], {"low": 0.0, "high": 90.0}])
def test_what_the_space_says_comes_first(entry: Any) -> None:
    file = study_file()
    data = file.model_dump(mode="json")
    data["space"]["rotate"] = entry
    file = parse_study(data, "tiny")
    point = MLP | {"rotate": 0.0}
    assert long_point(file, ended(point)) == point
    assert "rotate" not in file.long_params()
    assert long_file(file).space["rotate"] == file.space["rotate"]


def test_the_settings_of_longer_trainings_hold_it_and_give_the_same_points() -> None:
    file = study_file()
    assert long_file(file).space["rotate"] == refit_file(file, []).space["rotate"] == 180.0
    assert long_point(long_file(file), ended(MLP)) == long_point(file, ended(MLP))
    assert long_file(tiny_study()) == tiny_study()
    # it is not part of the search, so a stored search is resumed with and without it
    assert file.space_hash() == tiny_study(training=TRAINING).space_hash()


def test_every_rung_and_replicate_is_queued_with_it_and_shows_its_parameters(
    storage: Storage, tmp_path: Path
) -> None:
    made = create_or_resume(storage, "tiny", study_file(), FINGERPRINT)
    for value in (0.9, 0.8):
        made.add_trial(ended(MLP, value))

    def train(arena: optuna.Study, noun: str) -> None:
        leases, me = Leases(storage, arena), own_identity("cpu")
        while isinstance(claim := leases.claim(me, 10**6, may_create=False), Claim):
            weights = tmp_path / f"{arena.study_name}-{claim.number}.pt"
            weights.touch()
            storage.optuna.set_trial_user_attr(claim.trial_id, "weights", str(weights))
            leases.finish(me, claim.trial_id, TrialState.COMPLETE, 0.9)

    climb(storage, made, made.trials, n_replicates=1, prefer="best", train=train)
    replicate_study(storage, info(made), made.trials[1], 1)
    for name, n in (("tiny-rung-2", 2), ("tiny-finals", 1), ("tiny-final-1", 1)):
        trials = load(storage, name).trials
        assert [trial.user_attrs["point"] for trial in trials] == [MLP | {"rotate": 180.0}] * n
        # Optuna's own view of a trial, which the dashboard shows, is not empty
        assert all(trial.system_attrs["fixed_params"]["mlp_width"] == 8 for trial in trials)
