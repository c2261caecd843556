"""Kills and signals during real training: the budget stays exact, curves go on as if nothing happened."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from optuna.trial import TrialState
from running_search import (
    N_EPOCHS,
    in_training,
    kill_all,
    start,
    trials_of,
    wait_for,
    workers_of,
)
from tests_support import fill_disk, small_set, url_of

from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.study import info, load
from bloodsearch.search.trial.replay import replay_trial


@pytest.fixture(autouse=True)
def _small_set() -> Iterator[None]:
    """A quarter of the images, in twice the epochs: what is killed still trains for some seconds."""
    with small_set():
        yield
    kill_all()


@pytest.fixture
def study(storage_url: str) -> Iterator[Any]:
    yield from trials_of(storage_url)


@pytest.fixture
def sqlite_study(sqlite_url: str) -> Iterator[Any]:
    yield from trials_of(sqlite_url)


def assert_same_curve(url: str, number: int) -> None:
    """Replaying trains the trial without interruption: the curves must be equal bit for bit."""
    storage = open_storage(url, create=False)
    study = load(storage, "chaos-synthetic")
    replay = replay_trial(
        study.trials[number],
        info(study),
        data_root=None,
        device="cpu",
        on_epoch=lambda epoch, now, then: None,
    )
    storage.close()
    assert replay.again == replay.stored, replay.differs
    assert len(replay.again) == N_EPOCHS


def test_killed_worker_is_replaced_and_its_trial_goes_on(
    tmp_path: Path, storage_url: str, study: Any
) -> None:
    process = start(tmp_path, storage_url, 1)
    wait_for(lambda: in_training(study))
    (worker,) = workers_of(process)
    worker.kill()
    assert process.wait(120) == 0, (tmp_path / "output.log").read_text()
    assert [t.state for t in study()] == [TrialState.COMPLETE]
    assert [len(t.intermediate_values) for t in study()] == [N_EPOCHS]
    log = (tmp_path / "output.log").read_text()
    assert "a worker on cpu died (signal 9)" in log
    assert_same_curve(storage_url, 0)
    assert not list((tmp_path / "checkpoints").rglob("*.pt"))  # pruned away when not needed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_drains_within_seconds_and_the_command_goes_on(
    tmp_path: Path, sqlite_url: str, sqlite_study: Any, number: signal.Signals
) -> None:
    study = sqlite_study
    process = start(tmp_path, sqlite_url, 1)
    wait_for(lambda: in_training(study))
    process.send_signal(number)
    began = time.monotonic()
    assert process.wait(30) == 130
    assert time.monotonic() - began < 10  # 5 s, and a machine that is busy with other work
    (trial,) = study()
    assert trial.state is TrialState.WAITING
    assert 2 <= len(trial.intermediate_values) < N_EPOCHS
    assert start(tmp_path, sqlite_url, 1).wait(120) == 0
    (trial,) = study()
    assert trial.state is TrialState.COMPLETE
    assert_same_curve(sqlite_url, 0)


def test_killed_supervisor_takes_its_workers_along(
    tmp_path: Path, sqlite_url: str, sqlite_study: Any
) -> None:
    storage_url, study = sqlite_url, sqlite_study
    process = start(tmp_path, storage_url, 1)
    wait_for(lambda: in_training(study))
    workers = workers_of(process)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=15)
    assert not alive
    wait_for(lambda: all(t.state is TrialState.WAITING for t in study()), 10)
    assert start(tmp_path, storage_url, 1).wait(120) == 0
    assert [t.state for t in study()] == [TrialState.COMPLETE]


def test_everything_killed_at_once(tmp_path: Path, sqlite_url: str, sqlite_study: Any) -> None:
    storage_url, study = sqlite_url, sqlite_study
    process = start(tmp_path, storage_url, 3, workers=2)
    wait_for(lambda: in_training(study))
    for victim in [*workers_of(process), psutil.Process(process.pid)]:
        victim.kill()
    process.wait()
    wait_for(lambda: not workers_of(process), 10)
    assert start(tmp_path, storage_url, 3, workers=2).wait(120) == 0
    assert [t.state for t in study()] == [TrialState.COMPLETE] * 3
    assert len({repr(t.params) for t in study()}) == 3


def test_full_disk_costs_the_checkpoint_not_the_trial(
    tmp_path: Path, sqlite_url: str, sqlite_study: Any, small_disk: Path
) -> None:
    fill_disk(small_disk / "filler")
    assert start(tmp_path, sqlite_url, 1, checkpoints=small_disk).wait(120) == 0
    (trial,) = sqlite_study()
    assert trial.state is TrialState.COMPLETE
    assert_same_curve(sqlite_url, 0)
    said = (tmp_path / "output.log").read_text()
    assert (
        said.count("no checkpoint for trial 0") == N_EPOCHS - 1
    )  # none is due after the last epoch
    assert "disk full: cannot write" in said
    assert [path.name for path in small_disk.rglob("*") if path.is_file()] == ["filler"]


def test_ctrl_c_during_an_outage_is_an_interruption(own_server: Any, tmp_path: Path) -> None:
    """Exit 130, not 4: the person at the terminal ended it. The trial goes on when both are back."""
    url = url_of(own_server)
    opened = trials_of(url)
    study = next(opened)
    process = start(tmp_path, url, 1)
    wait_for(lambda: in_training(study))
    own_server.stop()
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    said = (tmp_path / "output.log").read_text()
    assert "Traceback" not in said
    assert "interrupted" in said
    own_server.start()
    assert start(tmp_path, url, 1).wait(120) == 0
    assert [t.state for t in study()] == [TrialState.COMPLETE]
    assert_same_curve(url, 0)
    with contextlib.suppress(StopIteration):
        next(opened)
