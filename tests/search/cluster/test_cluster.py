"""Workers in a Ray cluster: placed, waiting, killed, with their node or their driver; budgets stay exact.

Leases last an hour here: a trial that comes back within a test was not waited for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
import simulated_command
import sqlalchemy as sa
from optuna.trial import TrialState
from tests_support import TINY_STUDY, assert_exact, claims, tiny, tiny_study

from bloodsearch.search.api.placement import Placement
from bloodsearch.search.cluster.request import RayCluster
from bloodsearch.search.database.storage import Storage, open_storage
from bloodsearch.search.database.tables import leases_table
from bloodsearch.search.errors import BloodsearchError, Interrupted, RefusedError, StorageError
from bloodsearch.search.records import trial_record
from bloodsearch.search.study import info
from bloodsearch.search.workers import supervisor as supervisor_module
from bloodsearch.search.workers.leases import Leases
from bloodsearch.search.workers.registry import WorkerStatus
from bloodsearch.search.workers.supervisor import Supervisor

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def storage(postgres_url: str) -> Any:
    opened = open_storage(postgres_url, create=True)
    yield opened
    opened.close()


@pytest.fixture
def messages() -> list[str]:
    return []


def in_cluster(
    storage: Storage,
    n_trials: int,
    n_workers: int,
    messages: list[str],
    study: optuna.Study | None = None,
    request: RayCluster = RayCluster("auto"),  # noqa: B008
    **options: Any,
) -> tuple[Supervisor, optuna.Study]:
    """A supervisor of simulated workers, with the variables SIM_... of this process."""
    study = study or tiny(storage)
    placement = Placement(workers=n_workers, cluster=request)
    slots = placement.slots(1)
    simulated_command.forward_simulation()
    launcher = placement.launcher(storage, info(study), collects=True)
    search = Supervisor(
        Leases(storage, study),
        slots,
        n_trials,
        launcher=launcher,
        on_message=messages.append,
        owns_process=False,
        **options,
    )
    return search, study


def free_cpus() -> float:
    """CPUs that no worker takes, once Ray has noticed the last end."""
    import ray

    deadline = time.monotonic() + 20
    while (free := ray.available_resources().get("CPU", 0.0)) < ray.cluster_resources()["CPU"]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    return float(free)


def test_trial_that_kills_its_workers_fails_and_the_others_are_exact(
    ray_cluster: Any, storage: Storage, messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIM_POISON", "1")
    search, study = in_cluster(storage, 4, 2, messages)
    assert search.run()
    assert_exact(Leases(storage, study), 4)
    (failed,) = study.get_trials(states=(TrialState.FAIL,))
    assert trial_record(failed).stop_reason == "poison: 3 workers died on it"
    assert sum("died (signal 9)" in line for line in messages) == 3
    assert all(" on " in line for line in messages)
    assert free_cpus() == 3


def test_worker_that_crashes_on_every_trial_leaves_its_place(
    ray_cluster: Any, storage: Storage, messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "MAX_BACKOFF_S", 0.0)
    search, _ = in_cluster(storage, 4, 1, messages)
    launcher: Any = search.launcher
    launcher.program = ("-c", "import os, sys; sys.stderr.write('no!'); os.kill(os.getpid(), 9)")
    with pytest.raises(BloodsearchError, match="all workers stopped early with 0 of 4 trials"):
        search.run()
    n_deaths = supervisor_module.MAX_DEATHS_IN_A_ROW
    assert sum("died" in line for line in messages) == n_deaths
    assert messages.count("no!") == 1  # a line that many workers print is shown once
    assert "its slot stays empty" in messages[-1]
    assert free_cpus() == 3


def test_other_versions_are_refused_with_one_line(
    ray_cluster: Any, storage: Storage, messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from bloodsearch.search.cluster import place, remote_worker

    here = place.versions() | {"torch": "1.0"}
    monkeypatch.setattr(remote_worker, "versions", lambda: here)
    search, _ = in_cluster(storage, 4, 2, messages)
    with pytest.raises(RefusedError, match="no worker could start"):
        search.run()
    (line,) = messages
    assert "this machine torch 1.0: install the same on all" in line


def test_workers_share_the_gpu_that_ray_assigns(
    ray_cluster: Any, storage: Storage, messages: list[str]
) -> None:
    request = RayCluster("auto", cpus_per_worker=0.5, gpus_per_worker=0.5)
    search, _ = in_cluster(storage, 4, 2, messages, request=request)
    launcher: Any = search.launcher
    show = "import os, sys; print(os.environ['CUDA_VISIBLE_DEVICES'], *sys.argv, file=sys.stderr)"
    launcher.program = ("-c", show)
    assert search.run()  # each ends with 0, as if the budget were spent
    shown = [line for line in messages if "--device" in line]
    assert len(shown) == 2
    for line in shown:
        assert line.startswith("0 ")
        assert "--device cuda:0" in line
        assert "--slot cuda:0" in line
        assert "--node" in line


def test_launcher_connects_when_nobody_asked_for_slots(ray_cluster: Any, storage: Storage) -> None:
    """`compare --cluster` asks for the launcher first."""
    import ray

    ray.shutdown()
    placement = Placement(workers=2, cluster=RayCluster("auto"))
    placement.launcher(storage, info(tiny(storage)), collects=False)
    assert ray.is_initialized()


def test_sqlite_is_refused_on_several_nodes(
    ray_cluster: Any, sqlite_storage: Storage, messages: list[str]
) -> None:
    with pytest.raises(StorageError, match="SQLite serves one machine, and this cluster has 4"):
        in_cluster(sqlite_storage, 4, 2, messages)


def test_node_that_lacks_the_data_gets_them_once(
    ray_cluster: Any, storage: Storage, messages: list[str], real_data: Path
) -> None:
    from bloodsearch.search.cluster import node_data
    from bloodsearch.search.data.load import load_dataset
    from bloodsearch.search.study import create_or_resume

    fingerprint = load_dataset("bloodmnist", real_data).fingerprint
    made = create_or_resume(storage, "tiny", tiny_study(), fingerprint)
    search, study = in_cluster(storage, 2, 2, messages, made)
    assert search.run()
    assert_exact(Leases(storage, study), 2)
    import ray

    copies = ray.get(ray.remote(node_data.copies).remote(fingerprint))
    assert [path.name for path in copies.glob("*.npz")] == ["bloodmnist.npz"]
    assert load_dataset(fingerprint, copies).fingerprint == fingerprint


def command(url: str, n_trials: int, folder: Path) -> subprocess.Popen[bytes]:
    """A driver of its own: `bloodsearch optimize --cluster auto`."""
    (folder / "tiny.toml").write_text(TINY_STUDY)
    arguments = ["optimize", "tiny.toml", "--dataset", "synthetic", "--name", "tiny"]
    arguments += [
        "--storage",
        url,
        "--trials",
        str(n_trials),
        "--workers",
        "2",
        "--cluster",
        "auto",
    ]
    return subprocess.Popen([sys.executable, simulated_command.__file__, *arguments], cwd=folder)


def wait_for_claims(log: Path, n: int) -> None:
    deadline = time.monotonic() + 120
    while len(claims(log)) < n and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(claims(log)) >= n


def test_driver_may_be_killed_interrupted_and_started_again(
    ray_cluster: Any,
    storage: Storage,
    messages: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("SIM_LOG", str(log := tmp_path / "claims.log"))
    monkeypatch.setenv("SIM_EPOCH_S", "100")
    driver = command(storage.full_url, 6, tmp_path)
    wait_for_claims(log, 2)
    driver.kill()
    driver.wait()
    study = optuna.load_study(study_name="tiny", storage=storage.optuna)
    leases = Leases(storage, study)

    def press_ctrl_c() -> None:
        if len(claims(log)) == 4 and not search._signals:
            os.kill(os.getpid(), signal.SIGINT)

    search, _ = in_cluster(storage, 6, 2, messages, study, on_tick=press_ctrl_c)
    with pytest.raises(Interrupted):
        search.run()
    assert leases.counts()[TrialState.WAITING] == 2
    monkeypatch.setenv("SIM_EPOCH_S", "0.01")
    search, _ = in_cluster(storage, 6, 2, messages, study)
    assert search.run()
    assert_exact(leases, 6)
    assert max(Counter(claims(log)).values()) == 3  # once under each driver


def test_dead_node_gives_its_trials_back_and_those_without_a_place_wait(
    ray_cluster: Any,
    storage: Storage,
    messages: list[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    frozen: list[int],
) -> None:
    """Four workers, three places; then a machine is gone, and its trial runs on another one."""
    monkeypatch.setenv("SIM_LOG", str(log := tmp_path / "claims.log"))
    monkeypatch.setenv("SIM_EPOCH_S", "0.3")
    monkeypatch.setattr("bloodsearch.search.cluster.launcher.NOTICE_S", 1.0)
    lost: list[WorkerStatus] = []
    deaths: set[int] = set()

    def look() -> None:
        if lost:
            deaths.update(deaths_of(storage, lost))
        if lost or not any("wait" in line for line in messages):
            return
        at_work = [w for w in search.leases.registry.workers() if w.trial_id is not None]
        if len({worker.node for worker in at_work}) == 3:
            lost.extend(w for w in at_work if w.node == at_work[0].node)
            cut_power(ray_cluster, lost, frozen)

    search, study = in_cluster(storage, 20, 4, messages, on_tick=look)
    assert search.run()
    assert lost
    assert_exact(Leases(storage, study), 20)
    numbers = {t.number for t in study.trials if t._trial_id in {w.trial_id for w in lost}}
    assert numbers >= {n for n, count in Counter(claims(log)).items() if count > 1}
    assert deaths == {0}  # a machine's end says nothing against its trial
    assert any("1 of 4 workers waits for a place" in line for line in messages)
    assert any("its node or its place there is gone" in line for line in messages)


def deaths_of(storage: Storage, workers: list[WorkerStatus]) -> list[int]:
    lease = leases_table.c
    query = sa.select(lease.deaths).where(lease.trial_id.in_([w.trial_id for w in workers]))
    with storage.engine.connect() as db:
        return list(db.execute(query).scalars())


def cut_power(cluster: Any, workers: list[WorkerStatus], frozen: list[int]) -> None:
    """The machine of `workers` says nothing any more: not they, and not Ray's processes there."""
    actors = [psutil.Process(psutil.Process(worker.pid).ppid()) for worker in workers]
    for worker in workers:
        frozen.append(worker.pid)
        os.kill(worker.pid, signal.SIGSTOP)
    (node,) = (n for n in cluster.worker_nodes if n.node_id.startswith(workers[0].node))
    cluster.remove_node(node, allow_graceful=False)
    psutil.wait_procs(actors, timeout=60)
    for worker in workers:  # or its transaction could hold the study's lock for ever
        os.kill(worker.pid, signal.SIGKILL)
