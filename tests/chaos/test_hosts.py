"""Several machines with one database: the dead of another one are known by their silence alone."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import pytest
from optuna.trial import TrialState
from tests_support import assert_exact, claims, supervisor, tiny

from bloodsearch.search.cli import main
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.workers.launch import LocalWorker
from bloodsearch.search.workers.leases import Leases
from bloodsearch.search.workers.supervisor import Supervisor, _Child

LEASE_S = 4.0


@pytest.fixture(autouse=True)
def _short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOODSEARCH_LEASE_S", str(LEASE_S))


def power_cut(elsewhere: Supervisor) -> None:
    """The machine `elsewhere` is gone, with all that ran there."""
    for child in elsewhere._children:
        assert isinstance(child.worker, LocalWorker)
        child.worker.kill()
        child.worker.process.wait()
        child.worker.close()
    elsewhere._children.clear()  # it is gone, too, and puts nothing back


class PowerCut(Exception):
    pass


def run_elsewhere(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, log: Path, n_trials: int
) -> None:
    """Two workers on another machine claim a trial each; then its power is cut."""

    def cut() -> None:
        if len(claims(log)) == 2:
            power_cut(elsewhere)
            raise PowerCut

    with monkeypatch.context() as there:
        there.setenv("SIM_HOST", "elsewhere")
        there.setenv("SIM_EPOCH_S", "60")
        elsewhere = supervisor(storage, tiny(storage), n_trials, 2, on_tick=cut)
        with pytest.raises(PowerCut):
            elsewhere.run()


def test_trials_of_another_machine_come_back_after_their_lease(
    storage: Storage, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_elsewhere(storage, monkeypatch, log, 6)
    leases = Leases(storage, tiny(storage))
    assert leases.counts()[TrialState.RUNNING] == 2  # for all we know they are at work
    began = time.monotonic()
    assert supervisor(storage, tiny(storage), 6, 2).run()
    assert time.monotonic() - began > LEASE_S / 2
    assert_exact(leases, 6)
    assert Counter(claims(log)) == Counter([0, 0, 1, 1, 2, 3, 4, 5])


def test_status_puts_back_what_another_machine_has_left(
    storage: Storage,
    storage_url: str,
    log: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_elsewhere(storage, monkeypatch, log, 2)

    def status() -> dict[str, object]:
        with pytest.raises(SystemExit) as ended:
            main(["status", "tiny", "--storage", storage_url, "--json"])
        assert not ended.value.code
        shown: dict[str, object] = json.loads(capsys.readouterr().out)
        return shown

    before = status()
    assert (before["running"], before["reclaimed"]) == (2, 0)
    time.sleep(LEASE_S)
    after = status()
    assert (after["running"], after["waiting"], after["reclaimed"]) == (0, 2, 2)
    assert after["workers"] == []


def test_slow_machine_keeps_its_trials(
    storage: Storage, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trials there take longer than a lease, and are finished there: their workers beat."""
    study = tiny(storage)
    joined: list[_Child] = []

    def join_from_elsewhere() -> None:
        if not joined and claims(log):
            with monkeypatch.context() as there:
                there.setenv("SIM_HOST", "elsewhere")
                there.setenv("SIM_EPOCH_S", str(LEASE_S * 0.6))  # three epochs: nearly two leases
                other = supervisor(storage, study, 30, 1)
                joined.append(_Child(other.slots[0]))
                other._start(joined[0])

    monkeypatch.setenv("SIM_EPOCH_S", "0.3")
    assert supervisor(storage, study, 16, 1, on_tick=join_from_elsewhere).run()
    worker = joined[0].worker
    assert isinstance(worker, LocalWorker)
    worker.terminate()
    process = worker.process
    process.wait()
    worker.close()  # nobody else does: this worker's supervisor never ran
    by_pid = Counter(line.split()[1] for line in log.read_text().splitlines())
    assert by_pid[str(process.pid)] >= 1
    assert set(Counter(claims(log)).values()) == {1}  # nobody was robbed
    assert Leases(storage, study).counts()[TrialState.COMPLETE] >= 16
