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
from bloodsearch.search.evaluation.ladder import rounds
from bloodsearch.search.records import Kind
from bloodsearch.search.study import create_or_resume, load
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
        "1. second stage, at most: 15 trainings of 3 epochs, about 1 min 00 s",
        "2. final trainings: 5 trainings of 60 epochs, about 6 min 00 s",
    ]


def test_a_final_training_has_no_folds(sqlite_storage: Storage) -> None:
    """An epoch of the search trained on four fifths of train and validation five times, in 2 s."""
    n_images = FINGERPRINT.info.n_images
    share = n_images["train"] / (4 * (n_images["train"] + n_images["val"]))
    *_, final, _, total = lines(sqlite_storage, None, folds=5, finalists=3, rounds=5)
    seconds = 3 * 60 * 2.0 * share
    assert final.endswith(f"of 60 epochs, about {duration(seconds)}")
    assert total.startswith(f"about {duration(60 + seconds)} in all")


def test_a_named_trial_has_no_second_stage(sqlite_storage: Storage) -> None:
    assert lines(sqlite_storage, LADDER, trial=2)[0].startswith("1. final trainings: 5 trainings")


def test_trials_of_another_program_have_no_times(sqlite_storage: Storage) -> None:
    study = create_or_resume(sqlite_storage, "tiny", tiny_study(), FINGERPRINT)
    attrs = {"params": {"arch": "cnn"}}
    study.add_trial(create_trial(state=TrialState.COMPLETE, value=0.5, user_attrs=attrs))
    assert stage_lines(StoredStudy(sqlite_storage, study), FinalRequest()) == []


def test_rounds_follow_one_another(sqlite_storage: Storage) -> None:
    """The three seeds of the one that is left wait for the three finalists: 2 + 2 trainings in a row."""
    found = lines(sqlite_storage, {"finalists": 3}, replicates=4)
    assert found[0] == "1. final trainings: 6 trainings of 60 epochs, about 8 min 00 s"
    assert [rounds(4, 5), rounds(1, 5), rounds(2, 1)] == [[4, 2, 3], [1, 4], [2]]


def trained(storage: Storage, name: str, kind: Kind, *of: int) -> None:
    study = create_or_resume(storage, name, tiny_study(training=TRAINING), FINGERPRINT, kind=kind)
    for number in of:
        attrs = {"replicate_of": number}
        study.add_trial(create_trial(state=TrialState.COMPLETE, value=0.9, user_attrs=attrs))


def test_what_is_trained_is_not_announced_again(sqlite_storage: Storage) -> None:
    lines(sqlite_storage, LADDER)
    trained(sqlite_storage, "tiny-rung-2", "rung", 1, 2)
    trained(sqlite_storage, "tiny-finals", "replicates", 1, 2, 2)
    stored = StoredStudy(sqlite_storage, load(sqlite_storage, "tiny"))
    request = FinalRequest(replicates=3, placement=Placement("cpu", 2))
    assert stage_lines(stored, request)[0] == (
        "1. final trainings: 1 training of 60 epochs, about 1 min 00 s"
    )
    trained(sqlite_storage, "tiny-finals", "replicates", 2)
    assert stage_lines(stored, request) == [
        "the winner's models are trained; the test split is opened once and they predict it"
    ]


def test_a_race_that_is_over_is_not_announced_again(sqlite_storage: Storage) -> None:
    assert lines(sqlite_storage, None)[0].startswith("1. second stage, at most: 15 trainings")
    study = load(sqlite_storage, "tiny")
    study.set_user_attr("selection", {"winner": 2})
    trained(sqlite_storage, "tiny-final-2", "replicates", 2, 2, 2)
    request = FinalRequest(placement=Placement("cpu", 2))
    stored = StoredStudy(sqlite_storage, study)
    assert stage_lines(stored, request)[0].startswith("1. final trainings: 2 trainings")
    more = FinalRequest(rounds=7, placement=Placement("cpu", 2))
    assert stage_lines(stored, more)[0].startswith("1. second stage, at most: 21 trainings")


@pytest.mark.parametrize("ladder", [LADDER, None])
def test_trials_that_were_added_later_have_their_trainings_before_them(
    sqlite_storage: Storage, ladder: dict[str, object] | None
) -> None:
    """It said that the winner's models are trained, and trained for an hour."""
    lines(sqlite_storage, ladder)
    trained(sqlite_storage, "tiny-rung-2", "rung", 1, 2)
    trained(sqlite_storage, "tiny-finalists", "finalists", 0, 1, 2)
    for name in ("tiny-finals", "tiny-final-2"):
        trained(sqlite_storage, name, "replicates", 1, 2, 2, 2)
    study = load(sqlite_storage, "tiny")
    study.set_user_attr("selection", {"winner": 2})
    attrs = study.trials[0].user_attrs | {"params": {"arch": "cnn", "lr": 0.8}}
    study.add_trial(create_trial(state=TrialState.COMPLETE, value=0.8, user_attrs=attrs))
    request = FinalRequest(replicates=3, placement=Placement("cpu", 2))
    found = stage_lines(StoredStudy(sqlite_storage, study), request)
    assert found[:2] == (
        [
            "1. rung 2: 1 training of 15 epochs, about 15.0 s",
            "2. final trainings: 4 trainings of 60 epochs, about 4 min 00 s",
        ]
        if ladder
        else [
            "1. second stage, at most: 20 trainings of 3 epochs, about 1 min 00 s",
            "2. final trainings: 3 trainings of 60 epochs, about 4 min 00 s",
        ]
    )
