"""One trial through the objective, with a session that behaves as a worker's would in trouble."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from session_support import PlainSession
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.database.storage import Storage
from bloodsearch.search.errors import StorageError
from bloodsearch.search.pruning.audit import is_audited
from bloodsearch.search.pruning.pruner import FamilyPruner
from bloodsearch.search.sampling.draw import suggest_at_once
from bloodsearch.search.sampling.space import Params
from bloodsearch.search.study import create_or_resume, info
from bloodsearch.search.training.device import DeviceData
from bloodsearch.search.training.endings import Diverged, Drained
from bloodsearch.search.trial.data import TrialData
from bloodsearch.search.trial.objective import run_trial
from bloodsearch.search.trial.outcome import LostLease, Outcome
from bloodsearch.search.trial.resolve import resolve
from bloodsearch.search.workers.leases import Claim, Leases
from bloodsearch.search.workers.liveness import own_identity

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
    kept: list[dict[int, float]] | None = None,
) -> Outcome:
    study_info = info(trial.study)
    session = PlainSession(trial, study_info, folder, report, should_stop)
    session.kept = [] if kept is None else kept
    outcome = run_trial(session, study_info, TrialData(study_info, data))
    assert session.warnings == []
    return outcome


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


def test_ended_trial_keeps_its_checkpoint_until_its_end_is_stored(
    trial: optuna.Trial, small: DeviceData, tmp_path: Path
) -> None:
    """A worker that dies in between costs the last epoch, not the trial."""
    batches: list[int] = []

    def count() -> bool:
        batches.append(1)
        return False

    reports: dict[int, float] = {}
    first = run(trial, small, tmp_path, lambda e, v: reports.update({e: v}), count)
    n_first = len(batches)
    again = run(trial, small, tmp_path, lambda e, v: reports.update({e: v}), count)
    assert len(batches) - n_first == n_first // 3  # one of three epochs
    assert first.checkpoint == again.checkpoint == tmp_path / "tiny" / "trial-0.pt"
    assert first.value == again.value == max(reports.values())


def test_lost_or_drained_trial_is_left_as_it_is(
    trial: optuna.Trial, small: DeviceData, tmp_path: Path
) -> None:
    def lost(epoch: int, value: float) -> None:
        raise LostLease

    with pytest.raises(LostLease):
        run(trial, small, tmp_path, lost)
    with pytest.raises(Drained):
        run(
            trial,
            small,
            tmp_path,
            lambda epoch, value: trial.report(value, epoch),
            should_stop=lambda: True,
        )
    assert trial.study.trials[0].state is TrialState.RUNNING


def test_bug_fails_the_trial_with_its_traceback(
    trial: optuna.Trial, small: DeviceData, tmp_path: Path
) -> None:
    def bug(epoch: int, value: float) -> None:
        raise ZeroDivisionError("by hand")

    outcome = run(trial, small, tmp_path, bug)
    assert (outcome.state, outcome.value) == (TrialState.FAIL, None)
    assert outcome.attrs["detail"] == "ZeroDivisionError: by hand"
    assert "in bug" in outcome.attrs["traceback"]
    assert outcome.checkpoint == tmp_path / "tiny" / "trial-0.pt"


def test_point_that_no_worker_can_train_fails_and_is_not_put_back(
    storage: Storage, small: DeviceData, tmp_path: Path
) -> None:
    """Queued in a notebook: five blocks halve 28 pixels to nothing."""
    study = create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    point = {"arch": "cnn", "optimizer": "adam", "lr": 1e-3, "cnn_width": 2, "cnn_blocks": 5}
    study.enqueue_trial({}, user_attrs={"point": point})
    claim = Leases(storage, study).claim(own_identity("cpu"), 1, may_create=True)
    assert isinstance(claim, Claim)
    outcome = run(optuna.Trial(study, claim.trial_id), small, tmp_path, lambda epoch, value: None)
    assert (outcome.state, outcome.value) == (TrialState.FAIL, None)
    assert outcome.attrs["ending"] == "failed"
    assert "5 blocks halve 28 pixels" in outcome.attrs["detail"]


def test_the_worst_class_is_one_that_has_validation_images(
    trial: optuna.Trial, small: DeviceData, tmp_path: Path
) -> None:
    present = small.val_labels != 3
    without = dataclasses.replace(
        small, val_images=small.val_images[present], val_labels=small.val_labels[present]
    )
    attrs = run(trial, without, tmp_path, lambda epoch, value: None).attrs
    by_class = dict(zip(FINGERPRINT.info.classes, attrs["per_class_f1"], strict=True))
    absent = FINGERPRINT.info.classes[3]
    assert by_class.pop(absent) == 0
    assert attrs["worst_class"] == min(by_class, key=lambda name: by_class[name]) != absent


def test_pruner_is_asked_with_what_the_trial_will_have_stored(
    trial: optuna.Trial, small: DeviceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(FamilyPruner, "reason_for", lambda self, study, *what: asked.append(what))
    reports: dict[int, float] = {}
    outcome = run(trial, small, tmp_path, lambda epoch, value: reports.update({epoch: value}))
    assert outcome.state is TrialState.COMPLETE
    losses = list(zip(outcome.attrs["train_losses"], outcome.attrs["val_losses"], strict=True))
    epochs = range(1, len(reports))  # after the last one there is nothing to decide
    expected = [
        (outcome.attrs["family"], {e: reports[e] for e in range(1, epoch + 1)}) for epoch in epochs
    ]
    assert [what[:2] for what in asked] == expected
    assert [what[2] for what in asked] == [pytest.approx(loss, abs=1e-6) for loss in losses[:-1]]


def test_epoch_that_ends_the_patience_is_not_judged(
    storage: Storage, small: DeviceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The training is over; pruned, it would only lose its value."""
    training = {"epochs": 30, "final_epochs": 30, "patience": 2}
    study = create_or_resume(storage, "tiny", tiny_study(training=training), FINGERPRINT)
    claim = Leases(storage, study).claim(own_identity("cpu"), 1, may_create=True)
    assert isinstance(claim, Claim)
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    asked: list[int] = []
    monkeypatch.setattr(
        FamilyPruner,
        "reason_for",
        lambda self, study, family, values, losses: asked.append(max(values)),
    )
    reports: dict[int, float] = {}
    trial = optuna.Trial(study, claim.trial_id)
    outcome = run(trial, small, tmp_path, lambda epoch, value: reports.update({epoch: value}))
    assert outcome.attrs["ending"] == "early_stopped"
    assert asked == list(reports)[:-1]


def test_audited_trial_runs_on_and_keeps_the_reason(
    trial: optuna.Trial, small: DeviceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FamilyPruner, "reason_for", lambda *args: "below its peers")
    monkeypatch.setattr("bloodsearch.search.trial.epochs.is_audited", lambda *args: False)
    pruned = run(trial, small, tmp_path, lambda epoch, value: None)
    assert pruned.state is TrialState.PRUNED
    assert (pruned.attrs["ending"], pruned.attrs["detail"]) == ("pruned", "below its peers")
    monkeypatch.setattr("bloodsearch.search.trial.epochs.is_audited", lambda *args: True)
    audited = run(trial, small, tmp_path, lambda epoch, value: None)
    assert audited.state is TrialState.COMPLETE
    assert trial.user_attrs["audit"] == "below its peers"


def stop_at(epoch_to_stop: int, trial: optuna.Trial) -> Callable[[], bool]:
    """Asks for a drain once this epoch was reported."""
    return lambda: (
        max(trial.storage.get_trial(trial._trial_id).intermediate_values, default=0)
        >= epoch_to_stop
    )


def test_what_an_audit_found_survives_an_interruption(
    trial: optuna.Trial, small: DeviceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first reason counts, whoever goes on: a trial that then recovers is what an audit is for."""
    monkeypatch.setattr("bloodsearch.search.trial.epochs.is_audited", lambda *args: True)
    monkeypatch.setattr(FamilyPruner, "reason_for", lambda *args: "below its peers")
    with pytest.raises(Drained):
        run(trial, small, tmp_path, lambda e, v: trial.report(v, e), stop_at(1, trial))
    monkeypatch.setattr(FamilyPruner, "reason_for", lambda *args: "a later reason")
    outcome = run(trial, small, tmp_path, lambda e, v: trial.report(v, e))
    assert outcome.state is TrialState.COMPLETE
    assert trial.user_attrs["audit"] == "below its peers"


def test_an_epoch_that_was_reported_but_not_judged_is_judged_by_whoever_goes_on(
    trial: optuna.Trial, small: DeviceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*args: Any) -> None:
        raise StorageError("the storage did not answer")

    told: list[int] = []

    def report(epoch: int, value: float) -> None:
        told.append(epoch)
        trial.report(value, epoch)

    monkeypatch.setattr("bloodsearch.search.trial.epochs.is_audited", lambda *args: False)
    monkeypatch.setattr(FamilyPruner, "reason_for", dies)
    with pytest.raises(StorageError):
        run(trial, small, tmp_path, report)
    monkeypatch.setattr(
        FamilyPruner,
        "reason_for",
        lambda self, study, family, values, losses: "behind" if max(values) == 1 else None,
    )
    outcome = run(trial, small, tmp_path, report)
    assert outcome.state is TrialState.PRUNED
    assert told == [1]  # reported once


def test_a_restarted_trial_drops_the_epochs_of_the_training_that_died(
    trial: optuna.Trial, small: DeviceData, tmp_path: Path
) -> None:
    """It ran in another precision, say, and left reports that this training never had."""
    for epoch, value in ((1, 0.9), (2, 0.8), (9, 0.7)):
        trial.report(value, epoch)
    kept: list[dict[int, float]] = []
    reports: dict[int, float] = {}
    outcome = run(trial, small, tmp_path, lambda e, v: reports.update({e: v}), kept=kept)
    assert kept == [{}]
    assert list(reports) == [1, 2, 3]
    assert outcome.value == max(reports.values())


def test_a_resumed_trial_has_the_epochs_of_its_checkpoint(
    trial: optuna.Trial, small: DeviceData, tmp_path: Path
) -> None:
    """Another worker restarted it in between and reported other values, and one epoch more."""
    own: dict[int, float] = {}

    def stop_after_two(epoch: int, value: float) -> None:
        own[epoch] = value

    with pytest.raises(Drained):
        run(trial, small, tmp_path, stop_after_two, lambda: len(own) == 2)
    for epoch, value in ((1, own[1]), (2, 0.8), (3, 0.7)):
        trial.report(value, epoch)
    kept: list[dict[int, float]] = []
    reports: dict[int, float] = {}
    run(trial, small, tmp_path, lambda e, v: reports.update({e: v}), kept=kept)
    assert kept == [{1: own[1]}]
    assert list(reports) == [2, 3]
    assert reports[2] == own[2]


def test_a_resumed_trial_keeps_its_precision(
    trial: optuna.Trial, small: DeviceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker on another kind of processor ends what this one began."""
    choose = "bloodsearch.search.trial.objective.choose_precision"
    seen: list[int] = []
    monkeypatch.setattr(choose, lambda device: "bfloat16")
    with pytest.raises(Drained):
        run(trial, small, tmp_path, lambda e, v: seen.append(e), lambda: len(seen) == 1)
    monkeypatch.setattr(choose, lambda device: "float32")
    outcome = run(trial, small, tmp_path, lambda e, v: seen.append(e))
    assert seen == [1, 1, 2, 3]  # the first is told again, not trained again
    assert outcome.attrs["precision"] == "bfloat16"


def test_a_diverged_restart_leaves_no_epoch_of_the_training_that_died(
    trial: optuna.Trial, small: DeviceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.report(0.9, 1)

    def diverge(*args: object, **kwargs: object) -> None:
        raise Diverged("loss nan")

    monkeypatch.setattr("bloodsearch.search.trial.objective.fit", diverge)
    kept: list[dict[int, float]] = []
    outcome = run(trial, small, tmp_path, lambda epoch, value: None, kept=kept)
    assert kept == [{}]
    assert (outcome.attrs["ending"], outcome.attrs["epochs"]) == ("diverged", 0)
    assert outcome.value == 0.0  # the worst


def test_trial_that_another_program_ended_is_a_lost_lease(
    trial: optuna.Trial, small: DeviceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bloodsearch.search.trial.epochs.is_audited", lambda *args: True)
    monkeypatch.setattr(FamilyPruner, "reason_for", lambda *args: "below its peers")

    def report(epoch: int, value: float) -> None:
        trial.study.tell(trial.number, 0.9)

    with pytest.raises(LostLease):
        run(trial, small, tmp_path, report)


def test_min_epochs_are_the_searchs_not_the_final_trainings(leases: Leases) -> None:
    file = tiny_study(training={"epochs": 3, "final_epochs": 3, "patience": 1, "min_epochs": 2})
    study_info = dataclasses.replace(info(leases.study), study_file=file)
    point: Params = {"arch": "mlp", "optimizer": "adam", "lr": 1e-3}
    assert resolve(point, study_info, final=False).min_epochs == 2
    assert resolve(point, study_info, final=True).min_epochs == 0


def test_an_mlp_may_have_epochs_of_its_own(leases: Leases) -> None:
    training = {"epochs": 3, "final_epochs": 4, "mlp_epochs": 7, "mlp_final_epochs": 8}
    study_info = dataclasses.replace(info(leases.study), study_file=tiny_study(training=training))
    epochs = {
        (arch, final): resolve(
            {"arch": arch, "optimizer": "adam", "lr": 1e-3}, study_info, final=final
        ).epochs
        for arch in ("cnn", "mlp")
        for final in (False, True)
    }
    assert epochs == {
        ("cnn", False): 3, ("cnn", True): 4, ("mlp", False): 7, ("mlp", True): 8
    }  # fmt: skip


def test_audited_share_is_what_the_study_file_says(leases: Leases) -> None:
    study_info = info(leases.study)
    assert study_info.study_file.pruner.audit == 0.05
    n_audited = sum(is_audited(study_info.study_file, number) for number in range(10_000))
    assert n_audited == pytest.approx(500, abs=70)  # three standard deviations


def drawn(leases: Leases, number: int, accept: Callable[[Params], bool]) -> Params:
    """The parameters of a new trial whose first draws all come from the same seed."""
    me = dataclasses.replace(own_identity("cpu"), worker_id=f"w{number}")
    claim = leases.claim(me, 100, may_create=True)
    assert isinstance(claim, Claim)

    def view(draw: int) -> optuna.Trial:
        leases.study.sampler = optuna.samplers.RandomSampler(seed=draw)
        return optuna.Trial(leases.study, claim.trial_id)

    study_file = info(leases.study).study_file
    begin = leases.storage.engine.begin
    return suggest_at_once(begin, view(0), study_file, redraw=view, accept=accept)


def test_refused_point_is_drawn_again_and_never_stored(leases: Leases) -> None:
    wanted = drawn(leases, 1, lambda params: params["arch"] == "mlp")
    other = drawn(leases, 2, lambda params: params["arch"] == "cnn")
    assert (wanted["arch"], other["arch"]) == ("mlp", "cnn")
    for params, trial in zip((wanted, other), leases.study.trials, strict=True):
        assert trial.params.items() <= params.items()
        assert trial.user_attrs["family"] == params["arch"]
    never = drawn(leases, 3, lambda params: False)  # after MAX_DRAWS the last one is taken
    assert leases.study.trials[2].params.items() <= never.items()


def test_repeated_point_of_a_discrete_space_is_drawn_again(storage: Storage) -> None:
    space = {"arch": "mlp", "optimizer": "adam", "lr": [1e-3, 1e-2], "mlp_width": [8, 16, 32]}
    study = create_or_resume(storage, "tiny", tiny_study(space=space), FINGERPRINT)
    leases = Leases(storage, study)
    points = [repr(drawn(leases, i, lambda params: True)) for i in range(6)]
    assert len(set(points)) == 6  # the whole space
    assert repr(drawn(leases, 6, lambda params: True)) in points  # then it must repeat


def test_costly_model_is_not_trained(
    leases: Leases, small: DeviceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tiny_study(search={"max_latency_ms": 1.0})
    study = create_or_resume(leases.storage, "quick", file, FINGERPRINT)
    claim = Leases(leases.storage, study).claim(own_identity("cpu"), 1, may_create=True)
    assert isinstance(claim, Claim)
    trial = optuna.Trial(study, claim.trial_id)
    monkeypatch.setattr("bloodsearch.search.training.cost.latency_ms", lambda config: 2.5)
    reports: dict[int, float] = {}
    outcome = run(trial, small, tmp_path, lambda epoch, value: reports.update({epoch: value}))
    assert outcome.state is TrialState.PRUNED
    assert outcome.attrs["ending"] == "too_costly"
    assert outcome.attrs["detail"] == "2.5 ms per image, at most 1"
    assert outcome.value == 0.0
    assert reports == {}  # it is compared with nothing
