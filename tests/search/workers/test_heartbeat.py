"""What a beat says of a worker that others took for dead, at whatever moment its answer comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from bloodsearch.search.workers.heartbeat import Beat
from bloodsearch.search.workers.leases import Leases
from bloodsearch.search.workers.liveness import own_identity
from bloodsearch.search.workers.shutdown import Drain


class Answers:
    """A storage that does something while a beat is under way, and then knows the worker or not."""

    def __init__(self, known: bool) -> None:
        self.known = known
        self.meanwhile: Callable[[], None] = lambda: None

    def beat(self, worker: object) -> tuple[bool, bool]:
        self.meanwhile()
        return self.known, False


def beat_of(answers: Answers) -> Beat:
    return Beat(cast(Leases, answers), own_identity("cpu"), Drain())


@pytest.mark.parametrize("known", [True, False])
def test_a_worker_is_lost_when_the_storage_does_not_know_it(known: bool) -> None:
    beat = beat_of(Answers(known))
    beat.beat()
    assert beat.lost.is_set() is not known


def test_a_claim_ends_the_loss() -> None:
    beat = beat_of(Answers(known=False))
    beat.beat()
    beat.signed_in()
    assert not beat.lost.is_set()


def test_an_answer_from_before_a_claim_is_not_held_against_the_claimed_trial() -> None:
    """A stopped process goes on: its two threads beat and claim at the same moment."""
    answers = Answers(known=False)
    beat = beat_of(answers)
    answers.meanwhile = beat.signed_in
    beat.beat()
    assert not beat.lost.is_set()
    answers.meanwhile = lambda: None
    beat.beat()  # this one was asked after the claim
    assert beat.lost.is_set()
