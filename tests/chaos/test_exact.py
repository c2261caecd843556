"""Exact budgets with several worker processes, over resumes, on both kinds of database."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from optuna.trial import TrialState
from tests_support import (
    FINGERPRINT,
    assert_exact,
    claims,
    finished_configurations,
    supervisor,
    tiny,
    tiny_study,
)

from bloodsearch.search.database.storage import Storage, open_storage
from bloodsearch.search.errors import Interrupted
from bloodsearch.search.study import create_or_resume
from bloodsearch.search.workers.leases import Leases


@pytest.mark.parametrize("n_workers", [1, 4, 8])
def test_n_asked_n_finished_none_twice(storage: Storage, log: Path, n_workers: int) -> None:
    study = tiny(storage)
    assert supervisor(storage, study, 20, n_workers).run()
    assert Counter(claims(log)) == Counter(range(20))
    configurations = finished_configurations(study)
    assert len(configurations) == len(set(configurations)) == 20
    assert_exact(Leases(storage, study), 20)

    assert supervisor(storage, study, 20, 2).run()  # the same command again adds none
    assert len(claims(log)) == 20
    assert supervisor(storage, study, 23, 2).run()  # a larger N adds the difference
    assert Counter(claims(log)) == Counter(range(23))


def test_worker_that_joined_follows_a_larger_budget(
    storage: Storage, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`bloodsearch optimize` with a larger N comes while `bloodsearch worker` is at work."""
    study = tiny(storage)
    study.set_user_attr("n_trials", 3)

    def ask_for_more() -> None:
        if len(claims(log)) == 3:
            study.set_user_attr("n_trials", 7)

    monkeypatch.setenv("SIM_EPOCH_S", "0.5")
    assert supervisor(storage, study, None, 2, on_tick=ask_for_more).run()
    assert_exact(Leases(storage, study), 7)


def test_queued_grid_is_run_once_each(storage: Storage, log: Path) -> None:
    space = {
        "arch": "mlp",
        "optimizer": "adam",
        "lr": [1e-4, 1e-3, 1e-2],
        "mlp_width": [4, 8, 16, 32],
    }
    file = tiny_study(search={"sampler": "grid"}, space=space)
    study = create_or_resume(storage, "grid", file, FINGERPRINT)
    assert supervisor(storage, study, 100, 4).run()
    assert Counter(claims(log)) == Counter(range(12))
    assert all(t.state is TrialState.COMPLETE for t in study.trials)


def test_two_commands_on_one_study_share_the_budget(
    storage: Storage, storage_url: str, log: Path
) -> None:
    study = tiny(storage)
    script = (
        "import sys; from tests_support import *;"
        "from bloodsearch.search.database.storage import open_storage;"
        "from bloodsearch.search.study import load; s = open_storage(sys.argv[1], create=False);"
        "supervisor(s, load(s, 'tiny'), 16, 2).run()"
    )
    support = Path(sys.modules["tests_support"].__file__ or "").parent
    env = {**os.environ, "PYTHONPATH": str(support)}
    other = subprocess.Popen([sys.executable, "-c", script, storage_url], env=env)
    assert supervisor(storage, study, 16, 2).run()
    assert other.wait(60) == 0
    assert Counter(claims(log)) == Counter(range(16))


def test_six_processes_create_one_study(storage_url: str) -> None:
    script = (
        "import sys; from tests_support import *;"
        "from bloodsearch.search.database.storage import open_storage;"
        "from bloodsearch.search.study import create_or_resume;"
        "s = open_storage(sys.argv[1], create=True);"
        "create_or_resume(s, 'tiny', tiny_study(baselines=[dict(name='b', params=dict("
        "arch='mlp', optimizer='adam', lr=1e-3, mlp_width=8))]), FINGERPRINT)"
    )
    support = Path(sys.modules["tests_support"].__file__ or "").parent
    env = {**os.environ, "PYTHONPATH": str(support)}
    processes = [
        subprocess.Popen([sys.executable, "-c", script, storage_url], env=env) for _ in range(6)
    ]
    assert [process.wait(120) for process in processes] == [0] * 6
    storage = open_storage(storage_url, create=False)
    (study,) = storage.optuna.get_all_studies()
    # the baseline, and the sampled trial that comes before it
    assert len(storage.optuna.get_all_trials(study._study_id)) == 2
    storage.close()


def test_stop_drains_all_workers_and_nothing_stays_running(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, log: Path
) -> None:
    monkeypatch.setenv("SIM_EPOCH_S", "30")
    monkeypatch.setattr("bloodsearch.search.workers.supervisor.TICK_S", 0.05)
    study = tiny(storage)
    leases = Leases(storage, study)

    def stop_when_both_work() -> None:
        if leases.counts()[TrialState.RUNNING] == 2:
            leases.registry.request_drain()

    with pytest.raises(Interrupted, match="bloodsearch stop"):
        supervisor(storage, study, 5, 2, on_tick=stop_when_both_work).run()
    counts = leases.counts()
    assert counts[TrialState.RUNNING] == 0
    assert counts[TrialState.WAITING] == 2
    assert leases.registry.workers() == []


def test_stop_reaches_workers_that_are_only_starting(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, log: Path
) -> None:
    """They are not registered yet, and would go on for hours."""
    monkeypatch.setenv("SIM_START_S", "60")
    study = tiny(storage)
    leases = Leases(storage, study)
    asked: list[int] = []

    def stop() -> None:
        if not asked:
            asked.append(leases.registry.request_drain())

    began = time.monotonic()
    with pytest.raises(Interrupted, match="bloodsearch stop"):
        supervisor(storage, study, 5, 2, on_tick=stop).run()
    assert asked == [0]
    assert time.monotonic() - began < 20
    assert sum(leases.counts().values()) == 0
    # who comes afterwards works
    monkeypatch.delenv("SIM_START_S")
    assert supervisor(storage, study, 2, 2).run()
    assert_exact(leases, 2)
