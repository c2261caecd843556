"""One worker in this process, with a trainer that does as it is told."""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from optuna.trial import TrialState
from tests_support import FINGERPRINT, supervisor, tiny_study

from bloodsearch.search.database.storage import Storage
from bloodsearch.search.database.tables import leases_table, workers_table
from bloodsearch.search.errors import Interrupted, StorageError
from bloodsearch.search.study import create_or_resume, load
from bloodsearch.search.trial.checkpoint_files import checkpoint_folder, leftovers, remove_old_parts
from bloodsearch.search.trial.outcome import Outcome
from bloodsearch.search.trial.session import Session
from bloodsearch.search.workers.leases import Leases
from bloodsearch.search.workers.reclaim import MAX_DEATHS
from bloodsearch.search.workers.registry import Registry
from bloodsearch.search.workers.shutdown import Drain
from bloodsearch.search.workers.worker import POLL_S, WorkerSettings, poll_s, run_worker

Train = Callable[[Path, Drain], Outcome]


@pytest.fixture
def work(storage: Storage) -> Callable[[Train], None]:
    """Runs a worker for one trial of the study `tiny`."""
    create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)

    def run(train: Train) -> None:
        drain = Drain()
        settings = WorkerSettings(storage.full_url, "tiny", "cpu", "cpu", 1, None, 1, "me")

        def trainer(session: Session) -> Outcome:
            return train(session.checkpoints, drain)

        run_worker(settings, drain, lambda info, settings: trainer)

    return run


def one_epoch(checkpoints: Path, drain: Drain) -> Outcome:
    path = checkpoints / "tiny" / "trial-0.pt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return Outcome(TrialState.COMPLETE, 0.5, {}, path)


def away() -> sa.exc.OperationalError:
    return sa.exc.OperationalError("SELECT 1", {}, Exception("server closed the connection"))


def test_checkpoint_goes_when_the_end_is_stored(
    storage: Storage, work: Callable[[Train], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLOODSEARCH_OUTAGE_S", "0.3")
    folder = checkpoint_folder(storage)
    with monkeypatch.context() as broken:

        def finish(*args: object) -> bool:
            raise away()

        broken.setattr(Leases, "finish", finish)
        with pytest.raises(StorageError, match="did not answer"):
            work(one_epoch)
    assert list(leftovers(folder, "tiny").values()) == [0]
    work(one_epoch)
    assert leftovers(folder, "tiny") == {}


def test_whoever_lost_the_trial_leaves_its_checkpoint(
    storage: Storage, work: Callable[[Train], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file belongs to the worker that has the trial now."""
    monkeypatch.setattr(Leases, "finish", lambda *args: False)

    def train(checkpoints: Path, drain: Drain) -> Outcome:
        drain.request()
        return one_epoch(checkpoints, drain)

    with pytest.raises(Interrupted):
        work(train)
    assert list(leftovers(checkpoint_folder(storage), "tiny").values()) == [0]


def test_outage_where_nothing_waits_for_it_costs_no_worker(
    storage: Storage, work: Callable[[Train], None]
) -> None:
    """While the sampler reads, say: the trial goes back and is claimed again."""
    attempts: list[int] = []

    def train(checkpoints: Path, drain: Drain) -> Outcome:
        attempts.append(1)
        if len(attempts) < 4:
            raise away()
        return Outcome(TrialState.COMPLETE, 0.5, {})

    work(train)
    trials = load(storage, "tiny").trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE]
    assert len(attempts) == 4


def test_storage_that_always_fails_is_no_outage(
    storage: Storage, work: Callable[[Train], None]
) -> None:
    def train(checkpoints: Path, drain: Drain) -> Outcome:
        raise away()

    with pytest.raises(StorageError, match="again and again: server closed"):
        work(train)
    assert [trial.state for trial in load(storage, "tiny").trials] == [TrialState.WAITING]


def test_outage_that_lasts_ends_the_worker_with_its_own_error(
    storage: Storage, work: Callable[[Train], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker once asked the same database whether the study still exists, and died of that question."""
    monkeypatch.setenv("BLOODSEARCH_OUTAGE_S", "0.3")

    def unavailable(*args: object) -> bool:
        raise away()

    for method in ("finish", "check_study", "release"):
        monkeypatch.setattr(Leases, method, unavailable)
    with pytest.raises(StorageError, match="did not answer") as ended:
        work(one_epoch)
    assert ended.value.exit_code == 4


def test_end_after_an_outage_is_no_death(
    storage: Storage, work: Callable[[Train], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker cannot put its trial back, and whoever finds the trial later did not see it end."""
    monkeypatch.setenv("BLOODSEARCH_OUTAGE_S", "0.1")

    def unavailable(*args: object) -> bool:
        raise away()

    leases = Leases(storage, load(storage, "tiny"))
    for _ in range(MAX_DEATHS):
        with monkeypatch.context() as outage:
            for method in ("finish", "release"):
                outage.setattr(Leases, method, unavailable)
            outage.setattr(Registry, "unregister", unavailable)
            with pytest.raises(StorageError, match="did not answer"):
                work(one_epoch)
        with storage.engine.begin() as db:  # this process goes on, a worker's does not
            db.execute(sa.update(workers_table).values(pid=2**22 - 1))
        assert leases.reclaim() == 1
        assert leases.counts()[TrialState.WAITING] == 1
    with storage.engine.connect() as db:
        assert db.execute(sa.select(leases_table.c.deaths)).scalar() == 0
    folder = checkpoint_folder(storage) / "tiny"
    assert len(list(folder.glob("left-*"))) == 1
    supervisor(storage, leases.study, 1, 1)._drain()
    assert not list(folder.glob("left-*"))


def test_what_is_left_of_a_checkpoint(tmp_path: Path) -> None:
    names = ["trial-3.pt", ".trial-12.pt.x1y2", "trial-3.weights.pt", "trial-x.pt", "notes"]
    (tmp_path / "s").mkdir()
    for name in names:
        (tmp_path / "s" / name).touch()
    numbers = {path.name: number for path, number in leftovers(tmp_path, "s").items()}
    assert numbers == {"trial-3.pt": 3, ".trial-12.pt.x1y2": 12}
    assert leftovers(tmp_path / "nowhere", "s") == {}


def test_half_written_files_of_killed_processes_are_removed_later(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    for name in (".part-0a.pt", ".part-0b.pt", "trial-1.pt"):
        (tmp_path / "s" / name).touch()
    os.utime(tmp_path / "s" / ".part-0a.pt", (0, 0))
    os.utime(tmp_path / "s" / "trial-1.pt", (0, 0))
    remove_old_parts(tmp_path, "s")
    assert {path.name for path in (tmp_path / "s").iterdir()} == {".part-0b.pt", "trial-1.pt"}
    remove_old_parts(tmp_path, "nowhere")


def test_a_worker_learns_from_the_trials_that_it_finished(storage: Storage) -> None:
    """Its sampler once saw the study as it was at the worker's start, and drew at random for ever."""
    file = tiny_study(search={"sampler": "tpe", "startup_trials": 8, "seed": 0})
    create_or_resume(storage, "tiny", file, FINGERPRINT)
    settings = WorkerSettings(storage.full_url, "tiny", "cpu", "cpu", 1, None, 30, "me")

    def trainer(session: Session) -> Outcome:
        params = session.suggest(file, lambda params: True)
        return Outcome(TrialState.COMPLETE, -abs(math.log10(float(params["lr"])) + 3), {})

    run_worker(settings, Drain(), lambda info, settings: trainer)
    away = [-(trial.value or 0) for trial in load(storage, "tiny").trials]
    assert len(away) == 30
    # decades from the best rate, of a range of three; drawn at random, 1.0 here
    assert statistics.fmean(away[:8]) > 0.5
    assert statistics.fmean(away[15:]) < 0.5


def test_many_idle_workers_claim_less_often() -> None:
    assert poll_s(1) == poll_s(8) == POLL_S
    assert poll_s(1_000) == 20
