"""The stages of a final evaluation before it begins."""

from __future__ import annotations

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.api.final_stages import stage_lines
from bloodsearch.search.api.placement import Placement
from bloodsearch.search.api.study import StoredStudy
from bloodsearch.search.api.winner import FinalRequest
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.study import create_or_resume
from bloodsearch.search.text import duration

TRAINING = {"epochs": 3, "final_epochs": 60}
LADDER = {"rungs": [{"epochs": 15, "trials": 2}], "finalists": 2}


def lines(
    storage: Storage,
    ladder: dict[str, object] | None,
    *others: FrozenTrial,
    folds: int = 0,
    **request: object,
) -> list[str]:
    sections: dict[str, object] = {"training": TRAINING, "search": {"folds": folds}}
    sections |= {"ladder": ladder} if ladder else {}
    study = create_or_resume(storage, "tiny", tiny_study(**sections), FINGERPRINT)
    for value in (0.5, 0.6, 0.7):
        attrs = {
            "params": {"arch": "cnn", "lr": value}, "family": "cnn", "epochs": 3, "train_seconds": 6.0,
        }  # fmt: skip
        study.add_trial(create_trial(state=TrialState.COMPLETE, value=value, user_attrs=attrs))
    study.add_trials(others)
    placement = Placement("cpu", 2)
    return stage_lines(
        StoredStudy(storage, study), FinalRequest(placement=placement, **request)  # type: ignore[arg-type]
    )  # fmt: skip


def test_a_ladder(sqlite_storage: Storage) -> None:
    assert lines(sqlite_storage, LADDER, replicates=3) == [
        "1. rung 2: 2 trainings of 15 epochs, about 30.0 s",
        "2. final trainings: 4 trainings of 60 epochs, about 4 min 00 s",
        "3. the test split is opened once and the winner's models predict it",
        "about 4 min 30 s in all with 2 workers",
    ]


def test_a_baseline_that_is_kept_takes_its_own_time(sqlite_storage: Storage) -> None:
    """It is the worst of four, and an epoch of it takes five times as long as those of the others."""
    kept = create_trial(
        state=TrialState.COMPLETE,
        value=0.1,
        user_attrs={"params": {"arch": "cnn"}, "family": "cnn", "epochs": 3, "train_seconds": 30.0,
                    "baseline": "b"},
    )  # fmt: skip
    ladder = {"rungs": [{"epochs": 15, "trials": 3}], "finalists": 2, "keep": ["b"]}
    found = lines(sqlite_storage, ladder, kept, replicates=3)
    assert found[:2] == [
        "1. rung 2: 3 trainings of 15 epochs, about 2 min 20 s",
        "2. final trainings: 4 trainings of 60 epochs, about 12 min 00 s",
    ]


@pytest.mark.parametrize("ladder", [None, LADDER])
def test_a_second_stage_at_the_search_s_own_length(
    sqlite_storage: Storage, ladder: dict[str, object] | None
) -> None:
    found = lines(sqlite_storage, ladder, finalists=3, rounds=5)
    assert found[:2] == [
        "1. second stage, at most: 15 trainings of 3 epochs, about 48.0 s",
        "2. final trainings: 5 trainings of 60 epochs, about 6 min 00 s",
    ]


def test_a_final_training_has_no_folds(sqlite_storage: Storage) -> None:
    """An epoch of the search trained on four fifths of train and validation five times, in 2 s."""
    n_images = FINGERPRINT.info.n_images
    share = n_images["train"] / (4 * (n_images["train"] + n_images["val"]))
    *_, final, _, total = lines(sqlite_storage, None, folds=5, finalists=3, rounds=5)
    seconds = 3 * 60 * 2.0 * share
    assert final.endswith(f"of 60 epochs, about {duration(seconds)}")
    assert total.startswith(f"about {duration(48 + seconds)} in all")


def test_a_named_trial_has_no_second_stage(sqlite_storage: Storage) -> None:
    assert lines(sqlite_storage, LADDER, trial=2)[0].startswith("1. final trainings: 5 trainings")


def test_trials_of_another_program_have_no_times(sqlite_storage: Storage) -> None:
    study = create_or_resume(sqlite_storage, "tiny", tiny_study(), FINGERPRINT)
    attrs = {"params": {"arch": "cnn"}}
    study.add_trial(create_trial(state=TrialState.COMPLETE, value=0.5, user_attrs=attrs))
    assert stage_lines(StoredStudy(sqlite_storage, study), FinalRequest()) == []
