"""What the owner of a search publishes, as optuna-dashboard reads it."""

from __future__ import annotations

import sqlite3
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from optuna_dashboard import get_note
from optuna_dashboard._note import get_note_from_system_attrs
from report_support import fake_trial
from tests_support import FINGERPRINT, tiny, tiny_study

from bloodsearch.search.dashboard import attributes, publish
from bloodsearch.search.dashboard.artifacts import artifact_folder
from bloodsearch.search.dashboard.notes import sparkline
from bloodsearch.search.dashboard.publish import Publisher
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.evaluation.ledger import record_opening, record_result
from bloodsearch.search.study import create_or_resume


def attrs_of(study: optuna.Study) -> dict[str, Any]:
    return study._storage.get_study_system_attrs(study._study_id)


def trial_note(study: optuna.Study, number: int) -> str:
    trial_id = study.trials[number]._trial_id
    return str(get_note_from_system_attrs(attrs_of(study), trial_id)["body"])


@pytest.fixture
def study(storage: Storage) -> optuna.Study:
    """Fourteen trials: 0 to 11 are complete, the later the better; 12 is pruned and 13 failed."""
    made = tiny(storage)
    made.set_user_attr("n_trials", 20)
    for number in range(12):
        fake_trial(made, number, 0.5 + number / 100, ending="completed")
    fake_trial(made, 12, None, ending="pruned", detail="below its peers")
    made.add_trial(
        create_trial(
            state=TrialState.FAIL, user_attrs={"ending": "failed", "detail": "ValueError: x"}
        )
    )
    return made


def test_study_note_says_where_the_search_stands(storage: Storage, study: optuna.Study) -> None:
    publish.publish(storage, study)
    note = get_note(study)
    assert "**Stopped: 13 of 20 trials** (12 complete, 1 pruned, 1 failed, 0 running" in note
    assert "SYNTHETIC DATA" in note
    assert "[trial 11](/dashboard/studies/1/trials?numbers=11), validation macro-F1 0.6100" in note
    assert "95 % interval 0." in note
    assert "Test split opened for this search: **never**" in note
    assert f"bloodsearch optimize --trials 20 --name tiny --storage {storage.shown}" in note
    picture = note.split("![Curve of the best trial](/artifacts/1/12/")[1].split(")")[0]
    assert (artifact_folder(storage) / picture).read_bytes()[:4] == b"\x89PNG"


def test_trial_notes_say_how_each_ended_and_why(storage: Storage, study: optuna.Study) -> None:
    publish.publish(storage, study)
    assert trial_note(study, 11).startswith("**complete**, validation macro-F1 **0.6100**, rank 1")
    assert "F1 by class" not in trial_note(study, 11)  # this trial does not store them
    assert trial_note(study, 12).startswith("**pruned**: below its peers")
    assert trial_note(study, 13).startswith("**failed**: ValueError: x")
    assert trial_note(study, 0) == trial_note(study, 1) == ""  # not among the best ten
    assert len(attributes.pictured_trials(attrs_of(study))) == 10
    shown = attributes.artifacts(attrs_of(study), study.trials[11]._trial_id)
    assert sorted(a.filename for a in shown) == ["confusion.png", "curve.png", "f1-by-class.png"]


def test_notes_follow_the_trials(storage: Storage, study: optuna.Study) -> None:
    publish.publish(storage, study)
    before = {path.name for path in artifact_folder(storage).iterdir()}
    fake_trial(study, 14, 0.9)
    publisher = Publisher(storage, study, 20)
    publisher.add(t for t in study.trials if t.state.is_finished())
    publisher.tick()
    assert trial_note(study, 14).startswith("**complete**, validation macro-F1 **0.9000**, rank 1")
    assert ", rank 2" in trial_note(study, 11)
    assert trial_note(study, 2) == ""  # it was number ten
    publisher.close(pictures=True)
    after = {path.name for path in artifact_folder(storage).iterdir()}
    assert len(before - after) == len(after - before) == 3  # the pictures of trial 2 and of 14
    publish.publish(storage, study)
    assert {path.name for path in artifact_folder(storage).iterdir()} == after


def test_note_counts_openings_and_links_the_parts(storage: Storage, study: optuna.Study) -> None:
    opening = record_opening(
        storage, "tiny", trial=11, n_replicates=2, data_hash="0" * 32, forced=False
    )
    record_result(storage, opening, {})
    part = create_or_resume(storage, "tiny-final-11", tiny_study(), FINGERPRINT, kind="replicates")
    for seed, value in enumerate((0.6, 0.7)):
        part.add_trial(create_trial(value=value, user_attrs={"seed": seed, "replicate_of": 11}))
    publish.publish(storage, study)
    assert "opened for this search: **once**" in get_note(study)
    assert f"[tiny-final-11](/dashboard/studies/{part._study_id})" in get_note(study)
    note = get_note(part)
    assert "Replicates of [tiny](/dashboard/studies/1)'s winner" in note
    assert "| 11 | 0.6500 | 0.0707 | 2 |" in note
    assert "Best" not in note
    assert trial_note(part, 0).startswith("**complete**, validation macro-F1 **0.6000**: all")


def test_planted_text_is_no_markup(storage: Storage, study: optuna.Study) -> None:
    planted = "x](javascript:1) <img src=x onerror=alert(1)> | `\n# y"
    fake_trial(
        study,
        14,
        0.9,
        baseline=planted,
        worst_class=planted,
        worst_f1=0.1,
        family=planted,
        device=planted,
    )
    study.add_trial(
        create_trial(state=TrialState.FAIL, user_attrs={"ending": "failed", "detail": planted})
    )
    publish.publish(storage, study)
    for note in (get_note(study), trial_note(study, 14), trial_note(study, 15)):
        assert "<img" not in note
        assert "](javascript" not in note
        assert "\n# y" not in note


def test_nothing_is_written_twice_or_too_often(storage: Storage, study: optuna.Study) -> None:
    publisher = Publisher(storage, study, 20)
    publisher.add(t for t in study.trials if t.state.is_finished())
    publisher.tick()
    first = attrs_of(study)
    fake_trial(study, 14, 0.9)
    publisher.add([study.trials[14]])
    publisher.tick()  # less than EVERY_S later
    assert attrs_of(study) == first


def test_errors_never_reach_the_search(
    storage: Storage, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    publisher = Publisher(storage, study, 20, told.append)

    def fail(*args: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(publish, "study_note", fail)
    publisher.add([study.trials[0]])
    publisher.tick()
    publisher.close(pictures=True)
    assert told == [
        "the dashboard's notes stay as they are (RuntimeError: a bug); the trials are not affected"
    ]


def test_a_locked_database_is_tried_again(
    storage: Storage, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    publisher = Publisher(storage, study, 20, told.append)
    publisher.add(t for t in study.trials if t.state.is_finished())

    def locked(*args: object) -> None:
        raise optuna.exceptions.StorageInternalError from sqlite3.OperationalError("locked")

    with monkeypatch.context() as patch:
        patch.setattr(publisher, "_store", locked)
        publisher.tick()
    publisher.close(pictures=False)
    assert "**Stopped: 13 of 20" in get_note(study)
    assert not told


def test_sparkline() -> None:
    assert sparkline([0.0, 0.5, 1.0]) == "▁▅█"
    assert sparkline([0.5]) == "▁"
    assert sparkline([]) == ""
    assert len(sparkline([i / 100 for i in range(100)])) == 40
    assert sparkline([i / 100 for i in range(100)])[-1] == "█"
