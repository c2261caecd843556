"""A clock that is set forward and back by ten minutes during a search: no trial is claimed twice."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tests_support import assert_exact, claims, supervisor, tiny

from benchmarks.simulated_worker import shift_clock
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.workers.leases import Leases


@pytest.mark.parametrize("host", ["", "elsewhere"])
def test_clock_steps_do_not_give_a_trial_to_two_workers(
    storage: Storage, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """Every heartbeat looks ten minutes old after the step, longer than a lease.

    A worker is dead only if it stays silent while it is watched, by a clock that no step moves.
    """
    clock = tmp_path / "clock"
    clock.write_text("0")
    monkeypatch.setenv("SIM_CLOCK", str(clock))
    monkeypatch.setenv("SIM_EPOCH_S", "0.4")
    monkeypatch.setenv("BLOODSEARCH_LEASE_S", "6")
    if host:  # then the workers are judged by their heartbeats alone
        monkeypatch.setenv("SIM_HOST", host)
    steps = {2: 600.0, 4: 0.0, 6: -600.0, 8: 600.0}

    def step() -> None:
        offset = steps.get(len(claims(log)))
        if offset is not None and clock.read_text() != str(offset):
            beside = clock.with_name("new")
            beside.write_text(str(offset))
            beside.replace(clock)
            leases.reclaim()  # as `bloodsearch status` does, at the worst moment

    with monkeypatch.context() as shifted:
        shifted.setattr(Storage, "now", Storage.now)  # undone at the end
        shift_clock(clock)
        study = tiny(storage)
        leases = Leases(storage, study)
        assert supervisor(storage, study, 12, 3, on_tick=step).run()
        assert Counter(claims(log)) == Counter(range(12))
        assert_exact(leases, 12)
