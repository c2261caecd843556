"""Events about trials that end while workers run."""

from __future__ import annotations

import pytest
from optuna.trial import TrialState, create_trial
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.api import training
from bloodsearch.search.api.events import Event, TrialEnded
from bloodsearch.search.api.training import Follower
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.records import Kind
from bloodsearch.search.study import create_or_resume
from bloodsearch.search.watch.snapshot import Snapshot
from bloodsearch.search.watch.watcher import Watcher


@pytest.mark.parametrize(
    ("kind", "noun", "best"), [("search", "trial", True), ("replicates", "replicate", False)]
)
def test_only_a_search_has_a_best_trial_so_far(
    kind: Kind, noun: str, best: bool, storage: Storage
) -> None:
    """The best of replicates means nothing: no one of them is chosen."""
    study = create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT, kind=kind)
    events: list[Event] = []
    follower = Follower(study, 2, events.append, noun)
    study.add_trial(create_trial(state=TrialState.COMPLETE, value=0.5))
    follower.poll()
    (ended,) = events
    assert isinstance(ended, TrialEnded)
    assert ("best so far" in str(ended)) == best
    assert ended.best_value == (0.5 if best else None)


def test_mean_so_far_is_of_one_configuration(storage: Storage) -> None:
    """Not of all baselines or finalists that one study holds, nor of a trial that is told of later."""
    study = create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT, kind="replicates")
    events: list[Event] = []
    follower = Follower(study, 5, events.append, "replicate")
    for value, attrs in (
        (0.5, {"baseline": "A"}),
        (0.75, {"baseline": "B"}),
        (1.0, {"baseline": "A"}),
        (0.25, {"replicate_of": 3}),
        (0.375, {"replicate_of": 4}),
    ):
        study.add_trial(create_trial(state=TrialState.COMPLETE, value=value, user_attrs=attrs))
    follower.poll()
    told = [(e.mean_value, e.n_complete) for e in events if isinstance(e, TrialEnded)]
    assert told == [(0.5, 1), (0.75, 1), (0.75, 2), (0.25, 1), (0.375, 1)]


def test_with_a_watcher_each_trial_is_told_once_and_before_the_snapshot(
    sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "POLL_S", 0.0)
    study = create_or_resume(sqlite_storage, "tiny", tiny_study(), FINGERPRINT)
    study.add_trial(create_trial(state=TrialState.COMPLETE, value=0.5))
    told: list[Event] = []
    follower = Follower(study, 3, told.append, watcher=Watcher(sqlite_storage, study))
    study.add_trial(create_trial(state=TrialState.COMPLETE, value=0.75))
    follower.tick()
    study.add_trial(create_trial(state=TrialState.PRUNED, value=0.25))
    follower.tick()
    follower.tick()
    follower.poll()
    assert [type(event) for event in told] == [TrialEnded, Snapshot, TrialEnded, Snapshot, Snapshot]
    ended = [event for event in told if isinstance(event, TrialEnded)]
    assert [event.n_done for event in ended] == [2, 3]
    assert [event.is_best for event in ended] == [True, False]
