"""`final_eval` from Python: what it checks before anything is trained or opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from tests_support import FINGERPRINT, tiny_study

from bloodsearch import RefusedError, UsageError, final_eval
from bloodsearch.search.api import final, winner
from bloodsearch.search.api.events import Event
from bloodsearch.search.api.final import _serves
from bloodsearch.search.api.winner import FinalRequest
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.evaluation import ledger
from bloodsearch.search.evaluation.averaging import Averaging
from bloodsearch.search.evaluation.final import prepare
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


def test_nothing_is_refitted_while_a_replicate_is_missing(
    searched: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the trainings on both splits was made, and then the evaluation was refused."""
    study = create_or_resume(searched, "tiny", tiny_study(), FINGERPRINT)
    prepared = prepare(searched, study, trial=0, n_replicates=2)
    monkeypatch.setattr(final, "train_winner", lambda *args: (prepared, None))
    monkeypatch.setattr(final, "replicates", lambda *args: [prepared.winner])
    with pytest.raises(RefusedError, match=r"2 of 2 replicates .*waiting.*nothing was opened"):
        evaluate(searched, trial=0, train_val=True)
    assert optuna.get_all_study_names(searched.optuna) == ["tiny", "tiny-final-0"]


CHOSEN: dict[str, Any] = {
    "selection": {"prefer": "small"},
    "declared_options": [{"option": "each replicate averaged over eight orientations"}],
    "asked": {"prefer": "small", "max_params": 900},
}


@pytest.mark.parametrize(
    ("request_", "is_served"),
    [
        (FinalRequest(), True),
        (FinalRequest(prefer="small"), True),
        (FinalRequest(prefer="fast"), False),
        (FinalRequest(max_params=900), True),
        (FinalRequest(max_params=800), False),
        (FinalRequest(max_latency_ms=1.0), False),
        (FinalRequest(finalists=3), False),
        (FinalRequest(averaging=Averaging(orientations=True)), True),
        (FinalRequest(averaging=Averaging(orientations=True, replicates=True)), False),
        (FinalRequest(train_val=True), False),
    ],
)
def test_a_stored_result_serves_only_what_it_has(request_: FinalRequest, is_served: bool) -> None:
    assert _serves(CHOSEN, request_) is is_served
    older = {key: value for key, value in CHOSEN.items() if key != "asked"}
    unknown = request_.max_params or request_.max_latency_ms or request_.finalists
    assert _serves(older, request_) is (is_served or unknown is not None)


def test_a_result_whose_refits_all_diverged_has_what_train_val_asks_for() -> None:
    """The same command was refused, and told to open the test split again."""
    request = FinalRequest(train_val=True)
    assert not _serves(CHOSEN | {"diverged_refit_seeds": []}, request)
    assert _serves(CHOSEN | {"diverged_refit_seeds": [1, 2]}, request)
