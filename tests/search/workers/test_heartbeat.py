"""The answer to a heartbeat of a worker that others declared dead, whenever it arrives."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
import sqlalchemy as sa

from bloodsearch.search.workers.heartbeat import RETRY, Heartbeat
from bloodsearch.search.workers.lease_times import LeaseTimes
from bloodsearch.search.workers.liveness import own_identity
from bloodsearch.search.workers.registry import HeartbeatReply, Registry
from bloodsearch.search.workers.shutdown import Drain


class Answers:
    """A registry that does something while a heartbeat is under way, and then answers."""

    times = LeaseTimes.of(60)

    def __init__(self, registered: bool) -> None:
        self.registered = registered
        self.meanwhile: Callable[[], None] = lambda: None

    def heartbeat(self, worker: object) -> HeartbeatReply:
        self.meanwhile()
        return HeartbeatReply(self.registered, drain=False)


def heartbeat_of(answers: Answers) -> Heartbeat:
    return Heartbeat(cast(Registry, answers), own_identity("cpu"), Drain())


@pytest.mark.parametrize("registered", [True, False])
def test_a_worker_is_lost_when_it_is_not_registered(registered: bool) -> None:
    heartbeat = heartbeat_of(Answers(registered))
    heartbeat.send()
    assert heartbeat.lost.is_set() is not registered


def test_a_claim_ends_the_loss() -> None:
    heartbeat = heartbeat_of(Answers(registered=False))
    heartbeat.send()
    heartbeat.registered()
    assert not heartbeat.lost.is_set()


def test_an_answer_from_before_a_claim_is_not_held_against_the_claimed_trial() -> None:
    """A suspended process resumes, and its two threads send a heartbeat and claim at the same moment."""
    answers = Answers(registered=False)
    heartbeat = heartbeat_of(answers)
    answers.meanwhile = heartbeat.registered
    heartbeat.send()
    assert not heartbeat.lost.is_set()
    answers.meanwhile = lambda: None
    heartbeat.send()  # this one was asked after the claim
    assert heartbeat.lost.is_set()


def test_refused_heartbeat_is_sent_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a whole interval later: on a full server several are refused in a row."""
    answers = Answers(registered=True)
    heartbeat = heartbeat_of(answers)
    pauses: list[float] = []

    def refuse() -> None:
        if len(pauses) < 3:
            raise sa.exc.OperationalError("UPDATE", {}, Exception("too many clients already"))

    def wait(seconds: float) -> bool:
        pauses.append(seconds)
        return len(pauses) == 5

    answers.meanwhile = refuse
    monkeypatch.setattr(heartbeat._done, "wait", wait)
    heartbeat._run()
    interval = answers.times.heartbeat_s
    assert [pause == interval for pause in pauses] == [True, False, False, True, True]
    assert max(pauses[1:3]) <= interval * max(RETRY) < interval
