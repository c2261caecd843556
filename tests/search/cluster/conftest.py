"""A Ray cluster of several nodes on this machine, all on loopback, and studies for it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests_support import SIMULATED_WORKER

N_NODES, CPUS = 3, 1

# Ray reads these when it is first imported, which a test without a cluster may do before the cluster starts.
os.environ.update(
    RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",  # all of it listens on loopback
    RAY_USAGE_STATS_ENABLED="0",
    RAY_enable_worker_prestart="0",
    RAY_AUTH_MODE="disabled",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent and "cluster" in getattr(
            item, "fixturenames", ()
        ):
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.xdist_group("ray"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Three nodes, each with a CPU and what Ray takes for a GPU; `--cluster auto` connects to them."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("node-cache")))
        ray = pytest.importorskip("ray", reason="needs Ray: pip install -e '.[dev]'")
        from ray.cluster_utils import Cluster

        node = {
            "node_ip_address": "127.0.0.1",
            "object_store_memory": 80 * 2**20,
            "include_dashboard": False,
        }
        with pytest.MonkeyPatch.context() as of_nodes:
            of_nodes.delenv("BLOODSEARCH_DATA", raising=False)
            made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **node})
            for _ in range(N_NODES):
                made.add_node(num_cpus=CPUS, num_gpus=1, wait=False, **node)
            made.wait_for_nodes()
        environment.setenv("RAY_ADDRESS", made.address)
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.fixture
def ray_cluster(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The cluster, with workers that sleep instead of training and leases that no test outlives."""
    from bloodsearch.search.workers import launch

    monkeypatch.setattr(launch, "PROGRAM", ("-P", str(SIMULATED_WORKER)))
    monkeypatch.setenv("BLOODSEARCH_LEASE_S", "3600")
    return cluster


@pytest.fixture
def frozen() -> Iterator[list[int]]:
    """Pids that are ended after the test."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
