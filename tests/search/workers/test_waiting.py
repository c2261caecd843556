"""Every command that runs workers names the other workers that it waits for."""

from __future__ import annotations

import os

import pytest
from tests_support import supervisor

from bloodsearch.search.workers import waiting
from bloodsearch.search.workers.leases import Leases
from bloodsearch.search.workers.liveness import own_identity


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
    leases.claim(worker := own_identity("cpu"), 1, may_create=True)
    messages: list[str] = []
    notice = waiting.WaitNotice(leases.registry, messages.append)
    notice.tick({worker.worker_id})
    assert messages == []
    notice.tick({"another"})
    notice.tick({"another"})
    assert len(messages) == 1
