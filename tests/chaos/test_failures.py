"""Workers that die, hang, fail or grow: the budget stays exact."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa
from optuna.trial import TrialState
from tests_support import assert_exact, claims, supervisor, tiny

from bloodsearch.search.database.storage import Storage, open_storage
from bloodsearch.search.errors import BloodsearchError, DataError
from bloodsearch.search.records import trial_record
from bloodsearch.search.workers.launch import LocalLauncher
from bloodsearch.search.workers.leases import Leases


@pytest.mark.parametrize("way", ["SIM_POISON", "SIM_CRASH"])
def test_poisonous_trial_is_failed_and_made_up_for(
    storage: Storage, log: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """A kill -9 or an uncaught exception: the worker is replaced, the trial tried thrice."""
    monkeypatch.setenv(way, "1")
    study = tiny(storage)
    assert supervisor(storage, study, 4, 2).run()
    assert_exact(Leases(storage, study), 4)
    poison = study.trials[1]
    assert poison.state is TrialState.FAIL
    assert trial_record(poison).stop_reason == "poison: 3 workers died on it"
    assert Counter(claims(log)) == Counter([0, 1, 1, 1, 2, 3, 4])


def test_worker_with_three_failures_in_a_row_retires(
    storage: Storage, log: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SIM_BUG", "all")
    study = tiny(storage)
    with pytest.raises(BloodsearchError, match="all workers stopped early") as caught:
        supervisor(storage, study, 10, 2).run()
    assert caught.value.exit_code == 1
    assert "the last error, in trial" in str(caught.value)
    assert "ValueError: a bug" in str(caught.value)
    assert len(claims(log)) == 6
    assert "ValueError: a bug" in capfd.readouterr().err
    assert Leases(storage, study).counts()[TrialState.FAIL] == 6


def test_one_failure_costs_nothing_of_the_budget(
    storage: Storage, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIM_BUG", "2")
    study = tiny(storage)
    assert supervisor(storage, study, 5, 2).run()
    assert_exact(Leases(storage, study), 5)
    assert study.trials[2].state is TrialState.FAIL


def test_grown_worker_is_replaced_between_trials(
    storage: Storage, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOODSEARCH_WORKER_MB", "1")  # every process is larger
    study = tiny(storage)
    assert supervisor(storage, study, 3, 1).run()
    assert_exact(Leases(storage, study), 3)
    pids = {line.split()[1] for line in log.read_text().splitlines()}
    assert len(pids) == 3


def somebody_holds_a_lock(storage: Storage) -> bool:
    """Whether a write to the workers' table has to wait for longer than a living writer takes."""
    try:
        if storage.sqlite_path is not None:
            with contextlib.closing(sqlite3.connect(storage.sqlite_path, timeout=1)) as db:
                db.execute("BEGIN IMMEDIATE")
                db.rollback()
        else:
            with storage.engine.begin() as connection:
                connection.execute(sa.text("SET LOCAL lock_timeout = 1000"))
                connection.execute(sa.text("SELECT 1 FROM bloodsearch_workers FOR UPDATE"))
    except (sqlite3.OperationalError, sa.exc.OperationalError):
        return True
    return False


def test_stopped_worker_loses_its_trial_and_takes_the_next(
    storage: Storage, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP past the lease, SIGCONT after: the trial is finished once, by the other worker."""
    monkeypatch.setenv("BLOODSEARCH_LEASE_S", "3")
    monkeypatch.setenv("SIM_EPOCH_S", "0.5")
    study = tiny(storage)
    leases = Leases(storage, study)
    stopped: list[int] = []

    def stop_one_then_go_on() -> None:
        # in training, not in the middle of a claim: there it would hold the study's lock
        training = {t._trial_id for t in study.trials if len(t.intermediate_values) == 1}
        running = [w for w in leases.registry.workers() if w.trial_id in training]
        if not stopped and running:
            os.kill(running[0].pid, signal.SIGSTOP)
            if somebody_holds_a_lock(storage):  # it was writing a beat: let it, try again
                os.kill(running[0].pid, signal.SIGCONT)
            else:
                stopped.append(running[0].pid)
        elif len(stopped) == 1 and len(claims(log)) > len(set(claims(log))):
            os.kill(stopped[0], signal.SIGCONT)  # its trial runs elsewhere now
            stopped.append(stopped[0])

    assert supervisor(storage, study, 8, 2, on_tick=stop_one_then_go_on).run()
    assert len(stopped) == 2
    assert_exact(leases, 8)
    twice = [number for number, n in Counter(claims(log)).items() if n > 1]
    assert len(twice) == 1
    assert len(study.trials) == 8


def test_workers_that_cannot_start_say_with_what_code(
    storage: Storage, log: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`bloodsearch worker` on a machine without the data."""
    monkeypatch.setenv("SIM_NO_DATA", "1")
    with pytest.raises(DataError, match="no worker could start"):
        supervisor(storage, tiny(storage), 2, 2).run()
    assert "no data here" in capfd.readouterr().err


def test_worker_ended_from_outside_takes_nobody_along(
    storage: Storage, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody sends SIGTERM to one worker: the other does the rest, and that is no interruption."""
    study = tiny(storage)
    leases = Leases(storage, study)
    ended: list[int] = []

    def end_one() -> None:
        if not ended and (
            workers := [w for w in leases.registry.workers() if w.trial_id is not None]
        ):
            ended.append(workers[0].pid)
            os.kill(ended[0], signal.SIGTERM)

    monkeypatch.setenv("SIM_EPOCH_S", "0.2")
    assert supervisor(storage, study, 6, 2, on_tick=end_one).run()
    assert ended
    assert_exact(leases, 6)


def test_checkpoints_of_dead_workers_are_cleared_away(
    storage: Storage, log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A poisonous trial's, and what a process killed while it wrote one has left."""
    monkeypatch.setenv("BLOODSEARCH_CHECKPOINTS", str(tmp_path / "checkpoints"))
    (tmp_path / "checkpoints" / "tiny").mkdir(parents=True)
    for name in ("trial-1.pt", ".trial-0.pt.half", "trial-9.pt", "trial-0.weights.pt"):
        (tmp_path / "checkpoints" / "tiny" / name).touch()
    monkeypatch.setenv("SIM_POISON", "1")
    assert supervisor(storage, tiny(storage), 3, 1).run()
    left = {path.name for path in (tmp_path / "checkpoints" / "tiny").iterdir()}
    assert left == {"trial-9.pt", "trial-0.weights.pt"}  # trial 9 has not ended


def test_worker_that_dies_at_once_is_restarted_later_and_later(
    sqlite_url: str, log: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    storage = open_storage(sqlite_url, create=True)
    suicide = (
        "import os, time; open(os.environ['SIM_LOG'], 'a').write(f'{time.time()}\\n');"
        "os.kill(os.getpid(), 9)"
    )
    search = supervisor(storage, tiny(storage), 3, 1)
    search.launcher = LocalLauncher(("-c", suicide))
    with pytest.raises(BloodsearchError, match="all workers stopped early"):
        search.run()
    starts = [float(line) for line in log.read_text().splitlines()]
    pauses = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert len(starts) == 6
    assert all(pause >= 0.25 * 2**i for i, pause in enumerate(pauses))
    assert "died 6 times in a row (signal 9); its slot stays empty" in capfd.readouterr().err
    storage.close()
