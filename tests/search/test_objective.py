"""One trial through the objective, with hooks that behave as a worker's would in trouble."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from search.ask import suggest_at_once
from search.errors import StorageError
from search.leases import Claim, Leases
from search.liveness import own_identity
from search.objective import is_audited, run_trial
from search.outcome import Hooks, LostLease, Outcome
from search.pruning import FamilyPruner
from search.study import info, make_pruner
from search.training.device import DeviceData
from search.training.endings import Drained

Report = Callable[[int, float], None]


@pytest.fixture
def trial(leases: Leases) -> optuna.Trial:
    claim = leases.claim(own_identity("cpu"), 1, may_create=True)
    assert isinstance(claim, Claim)
    leases.study.sampler = optuna.samplers.RandomSampler(seed=0)
    return optuna.Trial(leases.study, claim.trial_id)


def run(
    trial: optuna.Trial,
    data: DeviceData,
    folder: Path,
    report: Report,
    should_stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    study_info = info(trial.study)
    hooks = Hooks(
        should_stop=should_stop,
        suggest=lambda t, file: suggest_at_once(t.storage._backend.engine, t, file),
        report=report,
        persist=lambda write: write(),
        warn=pytest.fail,
    )
    pruner = make_pruner(study_info.study_file)
    return run_trial(trial, study_info, data, checkpoints=folder, pruner=pruner, hooks=hooks)


def test_epoch_whose_report_found_no_storage_is_kept_for_the_next_worker(
    trial: optuna.Trial, small: DeviceData, tmp_path: Path
) -> None:
    """Past the outage's time limit the worker ends with exit 4; the trial goes on where it was."""
    whole: dict[int, float] = {}
    run(trial, small, tmp_path / "whole", lambda epoch, value: whole.update({epoch: value}))
    assert list(whole) == [1, 2, 3]

    def away(epoch: int, value: float) -> None:
        if epoch == 2:
            raise StorageError("the storage did not answer")
        trial.report(value, epoch)

    with pytest.raises(StorageError):
        run(trial, small, tmp_path / "cut", away)
    told: dict[int, float] = {}
    outcome = run(trial, small, tmp_path / "cut", lambda epoch, value: told.update({epoch: value}))
    assert told == {2: whole[2], 3: whole[3]}
    assert outcome.state is TrialState.COMPLETE
    assert outcome.value == max(whole.values())
    assert not list(tmp_path.rglob("*.pt"))  # pruned away when not needed


def test_lost_or_drained_trial_is_left_as_it_is(
    trial: optuna.Trial, small: DeviceData, tmp_path: Path
) -> None:
    def lost(epoch: int, value: float) -> None:
        raise LostLease

    with pytest.raises(LostLease):
        run(trial, small, tmp_path, lost)
    with pytest.raises(Drained):
        run(trial, small, tmp_path, trial.report, should_stop=lambda: True)
    assert trial.study.trials[0].state is TrialState.RUNNING


def test_bug_fails_the_trial_with_its_traceback(
    trial: optuna.Trial, small: DeviceData, tmp_path: Path
) -> None:
    def bug(epoch: int, value: float) -> None:
        raise ZeroDivisionError("by hand")

    outcome = run(trial, small, tmp_path, bug)
    assert (outcome.state, outcome.value) == (TrialState.FAIL, None)
    assert outcome.attrs["stop_reason"] == "ZeroDivisionError: by hand"
    assert "in bug" in outcome.attrs["traceback"]


def test_audited_trial_runs_on_and_keeps_the_reason(
    trial: optuna.Trial, small: DeviceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FamilyPruner, "reason_for", lambda *args: "below its peers")
    monkeypatch.setattr("search.objective.is_audited", lambda *args: False)
    pruned = run(trial, small, tmp_path, lambda epoch, value: None)
    assert pruned.state is TrialState.PRUNED
    assert pruned.attrs["stop_reason"] == "pruned: below its peers"
    monkeypatch.setattr("search.objective.is_audited", lambda *args: True)
    audited = run(trial, small, tmp_path, lambda epoch, value: None)
    assert audited.state is TrialState.COMPLETE
    assert audited.attrs["audit"] == "below its peers"


def test_audited_share_is_what_the_study_file_says(leases: Leases) -> None:
    study_info = info(leases.study)
    assert study_info.study_file.pruner.audit == 0.05
    n_audited = sum(is_audited(study_info, number) for number in range(10_000))
    assert n_audited == pytest.approx(500, abs=70)  # three standard deviations
