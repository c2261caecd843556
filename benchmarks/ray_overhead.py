"""What Ray costs: seconds per trial beside local processes, and after the end of a node.

    python -m benchmarks ray_overhead

Simulated workers train nothing, so all the time is claims, reports and ends of trials on PostgreSQL. It is
the mean time between a worker's starts of two trials, while all workers are at work, less the training.
"A node's end": a node of three is killed with SIGKILL while its worker is stopped, as on a machine without
power. The time runs until its trial is at work on another node.
"""

from __future__ import annotations

import itertools
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.common import postgres_urls, save, shown, spread, table
from benchmarks.simulated_search import FINGERPRINT, study_file
from bloodsearch.search.api.placement import Placement
from bloodsearch.search.cluster.request import RayCluster
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.study import create_or_resume, info
from bloodsearch.search.workers import launch
from bloodsearch.search.workers.leases import Leases
from bloodsearch.search.workers.supervisor import Supervisor

WORKER = Path(__file__).with_name("simulated_worker.py")
N_WORKERS = (1, 4, 16)
N_TRIALS = 16
"""Per worker."""
N_RUNS = 3
EPOCHS, EPOCH_S = 5, 0.2
NODE_LOSSES = 3


@contextmanager
def ray_nodes(n_nodes: int, cpus: int) -> Iterator[Any]:
    """A Ray cluster on loopback with `n_nodes` nodes beside its head, to which `--cluster auto` connects."""
    os.environ |= {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "RAY_worker_niceness": "0",
        "RAY_enable_worker_prestart": "0",
    }
    import ray
    from ray.cluster_utils import Cluster

    node = {
        "node_ip_address": "127.0.0.1",
        "object_store_memory": 80 * 2**20,
        "include_dashboard": False,
    }
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **node})
    for _ in range(n_nodes):
        cluster.add_node(num_cpus=cpus, **node)
    os.environ["RAY_ADDRESS"] = cluster.address
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def supervisor(url: str, placement: Placement, n_trials: int, **options: Any) -> Supervisor:
    """A supervisor of simulated workers, placed here or in the cluster."""
    storage = open_storage(url, create=True)
    study = create_or_resume(storage, "bench", study_file(), FINGERPRINT)
    launcher = placement.launcher(storage, info(study), collects=True)
    slots = placement.slots(1)
    return Supervisor(Leases(storage, study), slots, n_trials, launcher=launcher, **options)


def one_run(url: str, placement: Placement, n_workers: int) -> tuple[float, float]:
    """Return milliseconds per trial outside of its training, and seconds until all workers have a trial."""
    log = Path(os.environ["SIM_LOG"])
    log.write_text("")
    search = supervisor(url, placement, n_workers * N_TRIALS)
    began = time.time()
    search.run()
    trials = search.leases.study.get_trials(deepcopy=False)
    start_of = {t.number: t.datetime_start.timestamp() for t in trials if t.datetime_start}
    starts: dict[str, list[float]] = {}
    for line in log.read_text().splitlines():
        number, pid = line.split()
        starts.setdefault(pid, []).append(start_of[int(number)])
    all_at_work = max(min(own) for own in starts.values())
    gaps = [
        later - earlier
        for own in starts.values()
        for earlier, later in itertools.pairwise(sorted(own))
        if earlier >= all_at_work
    ]
    search.leases.storage.close()
    return 1000 * (statistics.fmean(gaps) - EPOCHS * EPOCH_S), all_at_work - began


def seconds_to_move(url: str, cluster: Any) -> float:
    """Kill a node whose worker is stopped; return the seconds until its trial is at work elsewhere."""
    lost: dict[str, Any] = {}

    def look() -> None:
        workers = [w for w in search.leases.registry.workers() if w.trial_id is not None]
        if not lost and len({worker.node for worker in workers}) == 2:
            worker = workers[0]
            os.kill(worker.pid, signal.SIGSTOP)
            node = next(n for n in cluster.worker_nodes if n.node_id.startswith(worker.node))
            lost.update(worker=worker, at=time.monotonic())
            actor = psutil.Process(psutil.Process(worker.pid).ppid())
            cluster.remove_node(node, allow_graceful=False)
            psutil.wait_procs([actor], timeout=60)
            os.kill(worker.pid, signal.SIGKILL)  # or its transaction could hold the study's lock
        elif lost and "seconds" not in lost:
            now_on = {w.trial_id: w.worker_id for w in workers}
            if (
                now_on.get(lost["worker"].trial_id, lost["worker"].worker_id)
                != lost["worker"].worker_id
            ):
                lost["seconds"] = time.monotonic() - lost["at"]

    placement = Placement(workers=2, cluster=RayCluster("auto"))
    search = supervisor(url, placement, 40, on_tick=look)
    search.run()
    search.leases.storage.close()
    return float(lost["seconds"])


def run() -> None:
    """Measure both places in turns, N_RUNS times each, and then the loss of a node."""
    log = Path(tempfile.mkstemp(prefix="bs-claims-")[1])
    os.environ |= {"SIM_EPOCHS": str(EPOCHS), "SIM_EPOCH_S": str(EPOCH_S), "SIM_LOG": str(log)}
    setattr(launch, "PROGRAM", ("-P", str(WORKER)))  # noqa: B010
    overhead: dict[str, list[float]] = {}
    starts: dict[str, list[float]] = {}
    moves = []
    with postgres_urls() as fresh:
        with ray_nodes(3, 6):
            for n_workers in N_WORKERS:
                for _ in range(N_RUNS):
                    for name, cluster in (("local", None), ("Ray", RayCluster("auto"))):
                        placement = Placement(
                            "cpu" if cluster is None else "auto", n_workers, 1, cluster
                        )
                        milliseconds, start_s = one_run(fresh(), placement, n_workers)
                        overhead.setdefault(f"{name} {n_workers}", []).append(milliseconds)
                        starts.setdefault(f"{name} {n_workers}", []).append(start_s)
        for _ in range(NODE_LOSSES):
            with ray_nodes(3, 1) as cluster:
                moves.append(seconds_to_move(fresh(), cluster))
    rows = [
        [
            n,
            *(
                shown(spread(of[f"{name} {n}"]))
                for of in (overhead, starts)
                for name in ("local", "Ray")
            ),
        ]
        for n in N_WORKERS
    ]
    columns = ["workers", "ms per trial, local", "ms, Ray", "s until all work, local", "s, Ray"]
    table(
        "Simulated trials on PostgreSQL: time outside of trainings, and until every worker has a trial; "
        "median (min .. max, n)",
        columns,
        rows,
    )
    table(
        "A node's end",
        ["", "seconds"],
        [["until its trial is at work on another node", shown(spread(moves))]],
    )
    log.unlink()
    save("ray_overhead", {"overhead_ms": overhead, "start_s": starts, "move_s": moves})


if __name__ == "__main__":
    run()
