"""Every command that runs workers names the other workers that it waits for."""

from __future__ import annotations

import dataclasses
import os
from types import SimpleNamespace

import pytest
from optuna.trial import TrialState
from tests_support import supervisor

from bloodsearch.search.workers import waiting
from bloodsearch.search.workers.leases import Claim, Leases
from bloodsearch.search.workers.liveness import own_identity
from bloodsearch.search.workers.registry import Registry, WorkerStatus


class Told(Exception):
    """Ends the supervisor."""


def test_supervisor_names_the_workers_that_hold_the_last_trials(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a copied database, for `optimize` and for `worker`."""
    monkeypatch.setattr(waiting, "WAIT_NOTICE_S", 0.0)
    leases.claim(own_identity("cpu"), 1, may_create=True)
    messages: list[str] = []

    def tell(text: str) -> None:
        messages.append(text)
        raise Told

    with pytest.raises(Told):
        supervisor(leases.storage, leases.study, 1, 1, on_message=tell, timeout_s=30).run()
    assert f"waiting for trials held by process {os.getpid()} on" in messages[0]
    assert "last heartbeat" in messages[0]
    assert "Ctrl-C stops waiting" in messages[0]


def test_own_workers_are_not_named_and_others_once(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "WAIT_NOTICE_S", 0.0)
    monkeypatch.setattr(waiting, "LOOK_EVERY_S", 0.0)
    monkeypatch.setattr(waiting, "poll_s", lambda n_workers: 0.0)
    leases.claim(worker := own_identity("cpu"), 1, may_create=True)
    messages: list[str] = []
    notice = waiting.WaitNotice(leases.registry, messages.append)
    notice.tick({worker.worker_id})
    assert messages == []
    notice.tick({"another"})
    notice.tick({"another"})
    assert len(messages) == 1


@pytest.mark.parametrize(("n_workers", "n_lists", "told_after_s"), [(2, 15, 10), (1_000, 1, 20)])
def test_many_workers_are_listed_only_when_needed_and_rarely(
    leases: Leases,
    monkeypatch: pytest.MonkeyPatch,
    n_workers: int,
    n_lists: int,
    told_after_s: int,
) -> None:
    """A thousand supervisors once read a thousand rows a second each, while their own workers trained."""
    now = 1_000.0
    lists: list[float] = []
    told: list[float] = []
    mine = own_identity("cpu")
    leases.claim(dataclasses.replace(mine, worker_id="other"), 2, may_create=True)
    claimed = leases.claim(mine, 2, may_create=True)
    assert isinstance(claimed, Claim)
    read = Registry.workers

    def workers(self: Registry) -> list[WorkerStatus]:
        lists.append(now)
        found = read(self)
        idle = dataclasses.replace(found[0], worker_id="idle", trial_id=None)
        return found + [idle] * (n_workers - len(found))

    monkeypatch.setattr(Registry, "workers", workers)
    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: now))
    notice = waiting.WaitNotice(leases.registry, lambda text: told.append(now))

    def tick(seconds: int) -> None:
        nonlocal now
        for _ in range(seconds):
            now += 1
            notice.tick({"starting", mine.worker_id})

    tick(60)
    assert lists == []
    leases.finish(mine, claimed.trial_id, TrialState.COMPLETE, 0.5)
    tick(15)
    assert len(lists) == n_lists
    tick(15)
    assert told == [lists[0] + told_after_s]


def test_pauses_between_own_trials_are_no_waiting(
    leases: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    told: list[str] = []
    mine = own_identity("cpu")
    leases.claim(dataclasses.replace(mine, worker_id="other"), 10, may_create=True)
    monkeypatch.setattr(waiting, "time", SimpleNamespace(monotonic=lambda: now))
    notice = waiting.WaitNotice(leases.registry, told.append)
    for _ in range(3):
        now += 8
        notice.tick({mine.worker_id})
        claimed = leases.claim(mine, 10, may_create=True)
        assert isinstance(claimed, Claim)
        now += 8
        notice.tick({mine.worker_id})
        leases.finish(mine, claimed.trial_id, TrialState.COMPLETE, 0.5)
    assert told == []
