"""Optuna clients, dashboards and notebooks that write into a study of bloodsearch."""

from __future__ import annotations

import dataclasses
import json
import time

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState
from typer.testing import CliRunner

from bloodsearch.search.cli import app
from bloodsearch.search.database.optuna_rows import trials_table
from bloodsearch.search.workers.lease_times import LeaseTimes
from bloodsearch.search.workers.leases import Claim, Leases, Verdict
from bloodsearch.search.workers.liveness import Identity, own_identity


@pytest.fixture
def worker(leases: Leases) -> Identity:
    identity = own_identity("cpu")
    leases.registry.register(identity)
    return identity


@pytest.fixture
def client(leases: Leases) -> optuna.Study:
    """The same study, opened by an Optuna client."""
    return optuna.load_study(study_name="tiny", storage=leases.storage.optuna)


def claim(leases: Leases, worker: Identity, n: int = 10) -> Claim:
    claimed = leases.claim(worker, n, may_create=True)
    assert isinstance(claimed, Claim)
    return claimed


def test_running_trial_of_a_client_is_left_alone_and_counted(
    leases: Leases, worker: Identity, client: optuna.Study
) -> None:
    asked = client.ask()
    assert leases.reclaim() == 0
    assert leases.claim(worker, 1, may_create=True) is Verdict.WAIT  # it fills the budget
    assert claim(leases, worker, 2).number == 1
    assert leases.registry.foreign_trials() == [asked._trial_id]
    assert [row.worker_id for row in leases.registry.workers()] == [worker.worker_id]
    client.tell(asked, 0.5)
    assert leases.reclaim() == 0
    assert leases.registry.foreign_trials() == []
    assert client.trials[0].value == 0.5


def test_running_trial_of_a_client_is_put_back_after_a_lease(
    leases: Leases, worker: Identity, client: optuna.Study
) -> None:
    asked = client.ask()
    leases.registry.times = LeaseTimes(lease_s=0.5, heartbeat_s=0.1, confirm_s=0.2)
    began = time.monotonic()
    assert leases.reclaim() == 0
    while not leases.reclaim():
        assert time.monotonic() - began < 30
        time.sleep(0.05)
    assert time.monotonic() - began > 0.5
    assert client.trials[0].state is TrialState.WAITING
    assert claim(leases, worker).trial_id == asked._trial_id
    assert leases.registry.foreign_trials() == []


@pytest.mark.parametrize("n_times", [2, 5])
def test_client_that_takes_a_trial_again_and_again_does_not_poison_it(
    leases: Leases, client: optuna.Study, n_times: int
) -> None:
    for _ in range(n_times):
        client.ask()  # takes the waiting trial, if there is one
        assert leases.reclaim(foreign=True) == 1
    assert [trial.state for trial in client.trials] == [TrialState.WAITING]


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
@pytest.mark.parametrize("told", [TrialState.COMPLETE, TrialState.FAIL])
def test_result_that_a_client_told_is_not_overwritten(
    leases: Leases, worker: Identity, client: optuna.Study, told: TrialState, state: TrialState
) -> None:
    claimed = claim(leases, worker)
    assert leases.report(worker, claimed.trial_id, 1, 0.25)
    client.tell(claimed.number, 0.9 if told is TrialState.COMPLETE else None, told)
    value = 0.1 if state is TrialState.COMPLETE else None
    assert not leases.finish(worker, claimed.trial_id, state, value, {"seed": 1})
    trial = client.trials[0]
    assert (trial.state, trial.user_attrs) == (told, {})
    assert trial.value == (0.9 if told is TrialState.COMPLETE else None)
    assert claim(leases, worker).number == 1  # the worker goes on


def test_report_to_a_trial_that_a_client_ended_is_refused(
    leases: Leases, worker: Identity, client: optuna.Study
) -> None:
    claimed = claim(leases, worker)
    client.tell(claimed.number, 0.9)
    assert not leases.report(worker, claimed.trial_id, 1, 0.25)
    assert not leases.holds(worker, claimed.trial_id)
    assert client.trials[0].intermediate_values == {}


def test_reports_of_a_trial_that_a_client_ended_are_kept(
    leases: Leases, worker: Identity, client: optuna.Study
) -> None:
    """A training that starts from scratch removes earlier reports, but not those of a finished trial."""
    claimed = claim(leases, worker)
    assert leases.report(worker, claimed.trial_id, 1, 0.25)
    client.tell(claimed.number, 0.9)
    assert not leases.keep_reports(worker, claimed.trial_id, {})
    assert client.trials[0].intermediate_values == {1: 0.25}


def test_waiting_trial_that_a_client_starts_first_is_not_claimed(
    leases: Leases, worker: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is faster than our update, after we have seen the trial waiting."""
    leases.study.enqueue_trial({"arch": "mlp"})
    leases.study.enqueue_trial({"arch": "cnn"})
    first_waiting = Leases._first_waiting
    taken: list[int] = []

    def client_is_faster(self: Leases, db: sa.Connection) -> Claim | None:
        seen = first_waiting(self, db)
        if seen is not None and not taken:
            taken.append(seen.trial_id)
            row = trials_table.c.trial_id == seen.trial_id
            db.execute(sa.update(trials_table).where(row).values(state=TrialState.RUNNING))
        return seen

    monkeypatch.setattr(Leases, "_first_waiting", client_is_faster)
    assert claim(leases, worker).number == 1
    assert [trial.state for trial in leases.study.trials] == [TrialState.RUNNING] * 2


def test_status_names_what_another_program_holds_and_stop_puts_it_back(
    leases: Leases, client: optuna.Study
) -> None:
    client.ask()
    options = ["tiny", "--storage", leases.storage.full_url]
    status = CliRunner().invoke(app, ["status", *options, "--json"])
    shown = json.loads(status.stdout)
    assert (shown["running"], shown["held_by_another_program"]) == (1, [0])
    assert shown["workers"] == []
    lines = CliRunner().invoke(app, ["status", *options]).stdout
    assert "held by another program: trial 0" in lines
    stopped = CliRunner().invoke(app, ["stop", *options, "--reclaim"])
    assert "asked 0 workers" in stopped.stdout
    assert client.trials[0].state is TrialState.WAITING


def test_a_stand_in_is_no_worker_to_ask(leases: Leases, client: optuna.Study) -> None:
    client.ask()
    leases.reclaim()
    assert leases.registry.request_drain() == 0
    far = dataclasses.replace(own_identity("cpu"), worker_id="far")
    leases.registry.register(far)
    assert leases.registry.request_drain() == 1
