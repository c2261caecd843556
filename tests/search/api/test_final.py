"""`final_eval` from Python: what it checks before anything is trained or opened."""

from __future__ import annotations

from pathlib import Path

import pytest
from optuna.trial import TrialState, create_trial
from tests_support import FINGERPRINT, tiny_study

from bloodsearch import RefusedError, UsageError, final_eval
from bloodsearch.search.api import winner
from bloodsearch.search.api.events import Event
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.evaluation import ledger
from bloodsearch.search.study import create_or_resume
from bloodsearch.search.workers.leases import Leases
from bloodsearch.search.workers.liveness import own_identity

POINT = {"arch": "mlp", "optimizer": "adam", "lr": 0.01, "mlp_width": 8}


@pytest.fixture
def searched(storage: Storage) -> Storage:
    """A search with one complete trial of a budget of six."""
    study = create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    study.set_user_attr("n_trials", 6)
    study.add_trial(
        create_trial(
            state=TrialState.COMPLETE,
            value=0.5,
            user_attrs={"params": POINT, "family": "mlp", "n_parameters": 10},
        )
    )
    return storage


def open_once(storage: Storage) -> None:
    ledger.record_opening(
        storage, "tiny", trial=0, n_replicates=1, data_hash="0" * 32, forced=False
    )


def evaluate(storage: Storage, **options: object) -> list[Event]:
    """Run the checks; the trainings themselves are not reached."""
    events: list[Event] = []
    final_eval(
        storage=storage.full_url,
        name="tiny",
        on_progress=events.append,
        **options,  # type: ignore[arg-type]
    )
    return events


def test_a_missing_trial_is_named_before_an_earlier_opening(searched: Storage) -> None:
    """Or the user passes --force for a trial that does not exist."""
    open_once(searched)
    with pytest.raises(UsageError, match="trial 99"):
        evaluate(searched, trial=99)
    with pytest.raises(RefusedError, match="already opened"):
        evaluate(searched, trial=0)


def test_refused_while_workers_train(searched: Storage, tmp_path: Path) -> None:
    leases = Leases(searched, create_or_resume(searched, "tiny", tiny_study(), FINGERPRINT))
    leases.registry.register(own_identity("cpu"))
    with pytest.raises(RefusedError, match=r"1 of its 6 trials and 1 worker trains it now.*stop"):
        evaluate(searched, trial=0)
    assert ledger.openings(searched) == []
    assert not (tmp_path / "final").exists()


def test_an_unfinished_search_is_said(searched: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    class ReachedError(Exception):
        pass

    def reached(*args: object, **options: object) -> None:
        raise ReachedError

    monkeypatch.setattr(winner, "prepare", reached)
    events: list[Event] = []
    with pytest.raises(ReachedError):
        final_eval(storage=searched.full_url, name="tiny", trial=0, on_progress=events.append)
    assert (
        "finished 1 of its 6 trials; to finish it first: bloodsearch optimize --name tiny"
        in str(events[0])
    )
    leases = Leases(searched, create_or_resume(searched, "tiny", tiny_study(), FINGERPRINT))
    leases.registry.register(own_identity("cpu"))
    with pytest.raises(ReachedError):
        evaluate(searched, trial=0, unfinished=True)
