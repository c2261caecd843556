"""A trial's seconds: stored once, and read the same way everywhere."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.evaluation.leaderboard import leaderboard
from bloodsearch.search.records import trial_record, trial_seconds
from bloodsearch.search.study import create_or_resume
from bloodsearch.search.summary import summarize


def ended(took_s: float, attrs: dict[str, Any]) -> FrozenTrial:
    """A complete trial whose last part took `took_s` by the time of day."""
    trial = create_trial(value=0.5, state=TrialState.COMPLETE, user_attrs=attrs)
    trial.datetime_start = datetime.datetime(2026, 3, 1, 12)
    trial.datetime_complete = trial.datetime_start + datetime.timedelta(seconds=took_s)
    return trial


@pytest.mark.parametrize(
    ("took_s", "attrs", "seconds"),
    [
        (9.4, {"seconds": 48.8, "train_seconds": 47.0}, 48.8),
        (9.4, {"train_seconds": 48.0}, 48.0),  # an earlier version, resumed
        (50.0, {"train_seconds": 48.0}, 50.0),  # an earlier version, in one part
        (-3587.8, {}, 0.0),  # the clock was set back
        (-3587.8, {"train_seconds": 12.0}, 12.0),
        (7.0, {"seconds": "long"}, 7.0),  # another program's attribute
    ],
)
def test_seconds_of_a_trial(took_s: float, attrs: dict[str, Any], seconds: float) -> None:
    trial = ended(took_s, attrs)
    assert trial_seconds(trial) == pytest.approx(seconds)
    assert trial_record(trial).seconds == pytest.approx(seconds)


def test_every_table_reads_the_same_seconds(sqlite_url: str) -> None:
    storage = open_storage(sqlite_url, create=True)
    study = create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    study.add_trial(ended(9.4, {"seconds": 48.8}))
    study.add_trial(ended(-100.0, {"seconds": 1.2}))
    assert [row.seconds for row in leaderboard(study)] == [48.8, 1.2]
    assert summarize(storage, study)["seconds"] == 50.0
    storage.close()
