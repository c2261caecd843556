"""Claims, leases and reclaims on both kinds of database."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import optuna
import psutil
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState
from tests_support import tiny

from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.database.tables import workers_table
from bloodsearch.search.records import trial_record
from bloodsearch.search.workers.lease_times import LeaseTimes
from bloodsearch.search.workers.leases import Claim, Leases, Verdict, pause_s
from bloodsearch.search.workers.liveness import (
    Identity,
    ProcessState,
    own_identity,
    process_state,
    started,
)
from bloodsearch.search.workers.reclaim import MAX_DEATHS
from bloodsearch.search.workers.registry import Registry

LEASE_S = 60.0


@pytest.fixture
def worker(leases: Leases) -> Identity:
    me = own_identity("cpu")
    leases.registry.register(me)
    return me


def another(leases: Leases, name: str) -> Identity:
    """A second worker of this process: each holds one trial at a time."""
    worker = dataclasses.replace(own_identity("cpu"), worker_id=name)
    leases.registry.register(worker)
    return worker


@pytest.fixture
def dead_worker(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> Identity:
    """A registered worker whose process has ended, while claims look at nobody's process."""
    monkeypatch.setattr("bloodsearch.search.workers.leases.RECLAIM_EVERY_S", math.inf)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started_at = started(process.pid)
    process.communicate(b"\n")
    gone = dataclasses.replace(
        own_identity("cpu"), worker_id="gone", pid=process.pid, pid_started=started_at
    )
    leases.registry.register(gone)
    return gone


def states(leases: Leases) -> list[str]:
    return [trial.state.name for trial in leases.study.get_trials(deepcopy=False)]


def claim(leases: Leases, worker: Identity, n: int = 10, may_create: bool = True) -> Any:
    claimed = leases.claim(worker, n, may_create=may_create)
    return claimed.trial_id if isinstance(claimed, Claim) else claimed


def report(leases: Leases, trial_id: int, value: float) -> None:
    leases.storage.optuna.set_trial_intermediate_value(trial_id, 1, value)


def test_claim_creates_a_running_trial_with_a_lease(leases: Leases, worker: Identity) -> None:
    trial_id = claim(leases, worker)
    assert isinstance(trial_id, int)
    assert states(leases) == ["RUNNING"]
    assert leases.holds(worker, trial_id)


def test_budget_counts_complete_and_pruned_but_not_failed(leases: Leases, worker: Identity) -> None:
    for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL):
        trial_id = claim(leases, worker, 3)
        report(leases, trial_id, 0.25)
        assert leases.finish(worker, trial_id, state, 0.5 if state is TrialState.COMPLETE else None)
    assert isinstance(claim(leases, worker, 3), int)  # the failed one is made up for
    second = another(leases, "second")
    assert claim(leases, second, 3) is Verdict.WAIT  # 2 finished and 1 running fill the budget
    assert claim(leases, second, 2) is Verdict.SPENT


def test_report_after_the_lease_is_refused(leases: Leases, worker: Identity) -> None:
    trial_id = claim(leases, worker)
    assert isinstance(trial_id, int)
    assert leases.report(worker, trial_id, 1, 0.25)
    assert leases.report(worker, trial_id, 1, 0.25)  # repeated after an outage
    leases.release(worker, trial_id)
    assert not leases.report(worker, trial_id, 2, 0.5)
    assert leases.study.trials[0].intermediate_values == {1: 0.25}


def test_kept_reports_replace_all_others(leases: Leases, worker: Identity) -> None:
    trial_id = claim(leases, worker)
    assert isinstance(trial_id, int)
    for step in (1, 2, 3):
        assert leases.report(worker, trial_id, step, 0.25)
    for _ in range(2):  # safe to repeat
        assert leases.keep_reports(worker, trial_id, {1: 0.25, 2: 0.5})
        assert leases.study.trials[0].intermediate_values == {1: 0.25, 2: 0.5}
    leases.release(worker, trial_id)
    assert not leases.keep_reports(worker, trial_id, {})


def test_pruned_trial_may_have_a_value_that_it_did_not_report(
    leases: Leases, worker: Identity
) -> None:
    """A diverged trial counts as the worst, whatever its last good epoch was."""
    trial_id = claim(leases, worker)
    report(leases, trial_id, 0.25)
    leases.finish(worker, trial_id, TrialState.PRUNED, 0.0)
    assert leases.study.trials[0].value == 0.0


def test_pruned_trial_keeps_its_last_reported_value(leases: Leases, worker: Identity) -> None:
    trial_id = claim(leases, worker)
    report(leases, trial_id, 0.25)
    leases.finish(worker, trial_id, TrialState.PRUNED, None)
    assert leases.study.trials[0].value == 0.25


def test_waiting_trials_come_first_and_in_order(leases: Leases) -> None:
    leases.study.enqueue_trial({"arch": "mlp"})
    leases.study.enqueue_trial({"arch": "cnn"})
    first, second, third = (claim(leases, another(leases, name)) for name in "abc")
    assert first < second < third
    assert [t.system_attrs.get("fixed_params") for t in leases.study.trials] == [
        {"arch": "mlp"},
        {"arch": "cnn"},
        None,
    ]


def test_without_creation_the_queue_is_the_budget(leases: Leases, worker: Identity) -> None:
    leases.study.enqueue_trial({"arch": "mlp"})
    trial_id = claim(leases, worker, may_create=False)
    assert isinstance(trial_id, int)
    assert claim(leases, another(leases, "second"), may_create=False) is Verdict.WAIT
    leases.finish(worker, trial_id, TrialState.COMPLETE, 0.5)
    assert claim(leases, worker, may_create=False) is Verdict.SPENT


def test_released_trial_goes_back_with_its_parameters(leases: Leases, worker: Identity) -> None:
    trial_id = claim(leases, worker)
    optuna.Trial(leases.study, trial_id).set_user_attr("family", "mlp")
    report(leases, trial_id, 0.3)
    leases.release(worker, trial_id)
    assert states(leases) == ["WAITING"]
    assert claim(leases, worker) == trial_id
    trial = leases.study.trials[0]
    assert trial.intermediate_values == {1: 0.3}
    assert trial.user_attrs["family"] == "mlp"


def test_dead_process_is_reclaimed_at_once(
    leases: Leases, worker: Identity, dead_worker: Identity
) -> None:
    trial_id = claim(leases, dead_worker)
    assert leases.reclaim() == 1
    assert states(leases) == ["WAITING"]
    assert [w.worker_id for w in leases.registry.workers()] == [worker.worker_id]
    assert claim(leases, worker) == trial_id


def test_reused_pid_is_not_taken_for_the_worker(leases: Leases) -> None:
    impostor = dataclasses.replace(own_identity("cpu"), worker_id="old", pid_started=1.0)
    leases.registry.register(impostor)
    claim(leases, impostor)
    assert leases.reclaim() == 1


@pytest.fixture
def old_server(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database has been up for ever, though the tests started it a moment ago.

    And one look is enough.
    """
    monkeypatch.setattr(
        "bloodsearch.search.database.storage._server_start", lambda: sa.literal(0.0)
    )
    leases.registry.times = dataclasses.replace(LeaseTimes.of(LEASE_S), confirm_s=0.0)


def set_beat_age(leases: Leases, worker: Identity, age_s: float) -> None:
    with leases.storage.engine.begin() as db:
        db.execute(
            sa.update(workers_table)
            .where(workers_table.c.worker_id == worker.worker_id)
            .values(beat=leases.storage.now() - age_s)
        )


@pytest.mark.usefixtures("old_server")
def test_living_process_is_not_robbed_for_its_silence(leases: Leases, worker: Identity) -> None:
    """On a starved machine a beat comes late; the process is there and not stopped."""
    trial_id = claim(leases, worker)
    set_beat_age(leases, worker, 5 * LEASE_S)
    assert leases.reclaim() == 0
    assert leases.holds(worker, trial_id)
    set_beat_age(
        leases, worker, (leases.registry.times.n_leases_if_alive + 1) * LEASE_S
    )  # it hangs
    assert leases.reclaim() == 1


@pytest.mark.usefixtures("old_server")
def test_stopped_process_is_judged_by_its_beat(leases: Leases) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    os.kill(process.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED)
    try:
        stopped = dataclasses.replace(
            own_identity("cpu"),
            worker_id="stopped",
            pid=process.pid,
            pid_started=started(process.pid),
        )
        leases.registry.register(stopped)
        claim(leases, stopped)
        assert leases.reclaim() == 0
        set_beat_age(leases, stopped, LEASE_S + 1)
        assert leases.reclaim() == 1
    finally:
        process.kill()
        process.communicate()


def test_time_without_a_database_is_nobodys_silence(postgres_url: str) -> None:
    """PostgreSQL was away for an hour: nobody has beaten, nobody is dead."""
    storage = open_storage(postgres_url, create=True)
    with storage.engine.connect() as db:
        up = db.execute(sa.text("SELECT extract(epoch from now() - pg_postmaster_start_time())"))
        hour_ago = storage.age(storage.now() - 3600.0)
        assert db.execute(sa.select(hour_ago)).scalar_one() == pytest.approx(
            float(up.scalar_one()), abs=5
        )
    storage.close()


@pytest.mark.slow
def test_heartbeat_at_the_last_moment_saves_the_worker(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A suspended worker resumes after it was judged and before it is removed."""
    storage = open_storage(postgres_url, create=True)
    leases = Leases(storage, tiny(storage))
    worker = another(leases, "slow")
    claim(leases, worker)

    def resumes(self: Registry, row: object) -> bool:
        leases.registry.heartbeat(worker)
        return True

    monkeypatch.setattr(Registry, "_is_dead", resumes)
    assert leases.reclaim() == 0
    assert leases.registry.heartbeat(worker).registered
    storage.close()


@pytest.mark.parametrize(("age_s", "n_reclaimed"), [(LEASE_S - 20, 0), (LEASE_S + 1, 1)])
@pytest.mark.usefixtures("old_server")
def test_other_hosts_are_judged_by_their_beat(
    leases: Leases, age_s: float, n_reclaimed: int
) -> None:
    far = dataclasses.replace(own_identity("cpu"), worker_id="far", host="elsewhere", pid=1)
    leases.registry.register(far)
    claim(leases, far)
    set_beat_age(leases, far, age_s)
    assert leases.reclaim() == n_reclaimed


def test_worker_elsewhere_that_its_supervisor_saw_end_is_dead(leases: Leases) -> None:
    far = dataclasses.replace(own_identity("cpu"), worker_id="far", host="elsewhere", pid=1)
    leases.registry.register(far)
    claim(leases, far)
    assert leases.reclaim({"far": True}) == 1


def test_other_container_of_this_host_is_judged_by_its_beat(leases: Leases) -> None:
    me = own_identity("cpu")
    boot = me.boot_id.split("/")[0]
    neighbour = dataclasses.replace(me, worker_id="next", boot_id=f"{boot}/1", pid=2**22 - 1)
    leases.registry.register(neighbour)
    claim(leases, neighbour)
    assert leases.reclaim() == 0


@pytest.mark.usefixtures("old_server")
@pytest.mark.parametrize(
    ("answer", "n_reclaimed"),
    [(PermissionError, (0, 1)), (ProcessLookupError, (1, 0)), (None, (1, 0))],
)
def test_hidden_process_of_another_user_is_judged_by_its_beat(
    leases: Leases,
    monkeypatch: pytest.MonkeyPatch,
    answer: type[OSError] | None,
    n_reclaimed: tuple[int, int],
) -> None:
    """With hidepid, /proc shows a user no processes of others."""
    asked: list[tuple[int, int]] = []

    def kill(pid: int, number: int) -> None:
        asked.append((pid, number))
        if answer is not None:
            raise answer

    monkeypatch.setattr(os, "kill", kill)
    hidden = dataclasses.replace(own_identity("cpu"), worker_id="hidden", pid=2**22 - 1)
    leases.registry.register(hidden)
    claim(leases, hidden)
    assert leases.reclaim() == n_reclaimed[0]
    set_beat_age(leases, hidden, LEASE_S + 1)
    assert leases.reclaim() == n_reclaimed[1]
    assert set(asked) == {(hidden.pid, 0)}
    # as a signal's target this is a group
    assert process_state(dataclasses.replace(hidden, pid=0)) is ProcessState.GONE
    assert set(asked) == {(hidden.pid, 0)}


@pytest.mark.usefixtures("old_server")
def test_machine_of_the_same_name_is_judged_by_its_beat(leases: Leases) -> None:
    """Another boot: this machine before it went down, or another one that is called the same."""
    namesake = dataclasses.replace(own_identity("cpu"), worker_id="old", boot_id="other/1")
    leases.registry.register(namesake)
    claim(leases, namesake)
    assert leases.reclaim() == 0
    set_beat_age(leases, namesake, LEASE_S + 1)
    assert leases.reclaim() == 1


def test_clock_set_forward_kills_nobody(
    leases: Leases, worker: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of day, and with it every process's start as psutil tells it, moves by an hour."""
    claim(leases, worker)
    create_time = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: create_time(self) + 3600)
    assert leases.reclaim() == 0


@pytest.mark.usefixtures("old_server")
@pytest.mark.parametrize("host", [None, "elsewhere"])
def test_silence_of_one_moment_is_no_death(leases: Leases, host: str | None) -> None:
    """The database's clock jumped, or the machine slept: all beats are old until the next one."""
    leases.registry.times = dataclasses.replace(LeaseTimes.of(LEASE_S), confirm_s=0.3)
    me = own_identity("cpu")
    worker = dataclasses.replace(me, host=host or me.host)
    leases.registry.register(worker)
    trial_id = claim(leases, worker)
    set_beat_age(leases, worker, 100 * LEASE_S)
    assert leases.reclaim() == 0
    leases.registry.heartbeat(worker)
    time.sleep(0.3)
    assert leases.reclaim() == 0
    assert leases.holds(worker, trial_id)
    set_beat_age(leases, worker, 100 * LEASE_S)
    assert leases.reclaim() == 0  # another silence, which has only just been noticed
    assert leases.reclaim_confirmed() == 1


def test_spared_death_is_not_held_against_the_trial(leases: Leases, dead_worker: Identity) -> None:
    for _ in range(2 * MAX_DEATHS):
        claim(leases, dead_worker)
        assert leases.reclaim({dead_worker.worker_id: False}) == 1
        assert states(leases) == ["WAITING"]


def test_trial_that_kills_its_workers_is_failed(leases: Leases, dead_worker: Identity) -> None:
    for n_deaths in range(1, MAX_DEATHS + 1):
        claim(leases, dead_worker)  # which registers it again
        assert states(leases) == ["RUNNING"]
        assert leases.reclaim() == 1
        assert states(leases) == (["FAIL"] if n_deaths == MAX_DEATHS else ["WAITING"])
    trial = leases.study.trials[0]
    assert trial_record(trial).stop_reason == "poison: 3 workers died on it"


def test_claim_whose_answer_got_lost_is_answered_again(leases: Leases, worker: Identity) -> None:
    """The connection broke after the commit: the worker asks again and gets no second trial."""
    first = leases.claim(worker, 10, may_create=True)
    assert leases.claim(worker, 10, may_create=True) == first
    assert states(leases) == ["RUNNING"]


@pytest.mark.usefixtures("old_server")
def test_claim_keeps_a_worker_that_was_taken_for_dead(leases: Leases, worker: Identity) -> None:
    """A worker wakes up, its row is old or gone, and its next claim comes before its next beat."""
    claim(leases, worker)
    leases.release(worker, 1)
    leases.registry.unregister(worker)
    trial_id = claim(leases, worker)
    assert isinstance(trial_id, int)
    assert leases.reclaim() == 0
    leases.finish(worker, trial_id, TrialState.COMPLETE, 0.5)
    set_beat_age(leases, worker, 100 * LEASE_S)
    trial_id = claim(leases, worker)
    assert leases.reclaim() == 0
    assert leases.holds(worker, trial_id)


def test_claim_looks_for_the_dead_now_and_then(
    leases: Leases, dead_worker: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial_id = claim(leases, dead_worker)
    assert claim(leases, another(leases, "second")) != trial_id  # it has only just looked
    monkeypatch.setattr("bloodsearch.search.workers.leases.RECLAIM_EVERY_S", 0)
    assert claim(leases, another(leases, "third")) == trial_id


@pytest.mark.parametrize(
    ("took_s", "n_workers", "seconds"),
    [(0.001, 1, 0.02), (0.002, 8, 0.32), (0.02, 128, 51.2), (0.1, 1_000, LEASE_S)],
)
def test_all_workers_together_look_for_a_twentieth_of_the_time(
    took_s: float, n_workers: int, seconds: float
) -> None:
    assert pause_s(took_s, n_workers, LEASE_S) == pytest.approx(seconds)


@pytest.mark.parametrize(("n_workers", "n_looks"), [(1, 4), (16, 2)])
def test_many_workers_look_for_the_dead_less_often(
    leases: Leases, monkeypatch: pytest.MonkeyPatch, n_workers: int, n_looks: int
) -> None:
    """128 on one machine once held the lock of their study all the time, each looking at all."""
    now = 1_000.0
    looks: list[float] = []

    def look(self: Registry, *args: object, **kwargs: object) -> list[Identity]:
        nonlocal now
        looks.append(now)
        now += 0.01
        self.n_workers = n_workers
        return []

    monkeypatch.setattr(Registry, "remove_dead", look)
    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr("bloodsearch.search.workers.leases.time", clock)
    for _ in range(4):
        claim(leases, own_identity("cpu"))
        now += 2
    assert len(looks) == n_looks


def test_claim_knows_how_many_workers_there_are(leases: Leases, worker: Identity) -> None:
    another(leases, "second")
    claim(leases, worker)
    assert leases.registry.n_workers == 2


def test_lost_trial_cannot_be_finished_or_released(
    leases: Leases, worker: Identity, dead_worker: Identity
) -> None:
    trial_id = claim(leases, dead_worker)
    leases.reclaim()
    assert claim(leases, worker) == trial_id
    assert not leases.finish(dead_worker, trial_id, TrialState.COMPLETE, 0.9)
    leases.release(dead_worker, trial_id)
    assert states(leases) == ["RUNNING"]
    assert leases.holds(worker, trial_id)


def test_beat_reports_registration_and_drain(leases: Leases, worker: Identity) -> None:
    set_beat_age(leases, worker, 30)
    assert leases.registry.heartbeat(worker) == (True, False)
    assert leases.registry.workers()[0].beat_age_s < 5
    assert leases.registry.request_drain() == 1
    assert leases.registry.heartbeat(worker) == (True, True)
    leases.registry.unregister(worker)
    assert leases.registry.heartbeat(worker) == (False, False)


def test_workers_shows_what_they_hold(leases: Leases, worker: Identity) -> None:
    trial_id = claim(leases, worker)
    (status,) = leases.registry.workers()
    assert (status.pid, status.device, status.trial_id) == (os.getpid(), "cpu", trial_id)


def test_claims_do_not_see_other_studies(leases: Leases, worker: Identity) -> None:
    other = optuna.create_study(storage=leases.storage.optuna, study_name="other")
    other.enqueue_trial({"x": 1})
    trial_id = claim(leases, worker, 1)
    assert leases.storage.optuna.get_trial(trial_id).number == 0
    assert claim(leases, another(leases, "second"), 1) is Verdict.WAIT
