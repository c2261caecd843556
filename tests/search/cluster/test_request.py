"""What a search asks a cluster for, and the data on a node; without Ray."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest
from tests_support import shrink

from bloodsearch.search.api.placement import Placement
from bloodsearch.search.cluster.node_data import find_data, read_data, store_data
from bloodsearch.search.cluster.request import RayCluster
from bloodsearch.search.data.load import load_dataset
from bloodsearch.search.errors import UsageError
from bloodsearch.search.workers.liveness import (
    Identity,
    ProcessState,
    own_identity,
    process_state,
)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"address": "head:6379"}, "--cluster head:6379: use auto, local or ray://HOST:10001"),
        ({"address": "ray://head"}, "--cluster ray://head: use"),
        ({"gpus_per_worker": 1.5}, "--gpus-per-worker 1.5: from 0 to 1"),
        ({"gpus_per_worker": float("nan")}, "--gpus-per-worker nan"),
        ({"cpus_per_worker": 0}, "--cpus-per-worker 0: a share of one CPU"),
        ({"cpus_per_worker": 1.5}, "--cpus-per-worker 1.5: a share of one CPU"),
    ],
)
def test_impossible_requests_are_one_line(options: dict[str, object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        RayCluster(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cpus", "gpus", "cluster", "n"),
    [
        (8, 0, RayCluster(), 8),
        (8, 0, RayCluster(cpus_per_worker=3), 2),
        (1, 0, RayCluster(cpus_per_worker=0.25), 4),
        (64, 3, RayCluster(gpus_per_worker=0.4), 6),  # two on each GPU
        (4, 3, RayCluster(gpus_per_worker=0.1), 4),
        (0, 0, RayCluster(), 1),  # it waits for a node
    ],
)
def test_as_many_workers_as_there_is_room_for(
    cpus: float, gpus: float, cluster: RayCluster, n: int
) -> None:
    assert cluster._room(cpus, gpus, 1) == n


@pytest.mark.parametrize("options", [{"devices": "cpu"}, {"per_device": 2}])
def test_ray_assigns_devices(options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="does not go with --cluster"):
        Placement(cluster=RayCluster(), **options)  # type: ignore[arg-type]


def test_missing_ray_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match="--cluster needs Ray, which is not installed"):
        Placement(workers=2, cluster=RayCluster()).slots(1)


def test_data_are_found_by_their_content_or_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"train": 12, "val": 9, "test": 8}
    arrays = {f"{split}_labels": np.zeros((n, 1), np.uint8) for split, n in sizes.items()}
    arrays |= {f"{s}_images": np.ones((n, 28, 28, 3), np.uint8) for s, n in sizes.items()}
    for name in ("here", "other", "cache"):
        (tmp_path / name).mkdir()
    np.savez(tmp_path / "here" / "bloodmnist.npz", **arrays)  # type: ignore[arg-type]
    arrays["train_images"][0] = 2
    np.savez(tmp_path / "other" / "bloodmnist.npz", **arrays)  # type: ignore[arg-type]
    shrink(monkeypatch, sizes)
    monkeypatch.setenv("BLOODSEARCH_DATA", str(tmp_path / "other"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fingerprint = load_dataset("bloodmnist", tmp_path / "here").fingerprint
    assert find_data(fingerprint, tmp_path / "here") == (True, tmp_path / "here")
    assert find_data(fingerprint, None) == (False, None)  # another file of that name
    content = read_data(fingerprint, tmp_path / "here")
    assert content is not None
    folder = store_data(fingerprint, content)
    assert find_data(fingerprint, None) == (True, folder)
    monkeypatch.setenv("BLOODSEARCH_DATA", str(tmp_path / "here"))
    assert find_data(fingerprint, None) == (True, None)


def test_worker_of_another_node_is_judged_by_its_lease_alone() -> None:
    """Two nodes on one machine: its process may have been ended with its node, not by its trial."""

    def gone(node: str) -> Identity:
        return dataclasses.replace(own_identity("cpu", node=node), pid=2**22 - 1)

    assert len(own_identity("cpu", node="a" * 56).boot_id) <= 64
    assert gone("a" * 56).node == "a" * 12
    assert process_state(gone("a" * 56), "a" * 12) is ProcessState.GONE
    assert process_state(gone("a" * 56), "b" * 12) is ProcessState.UNKNOWN
    assert process_state(gone("a" * 56)) is ProcessState.GONE
    assert process_state(gone(""), "b" * 12) is ProcessState.GONE
