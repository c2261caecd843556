"""Where workers run: devices, threads, and the environment they start with."""

from __future__ import annotations

import pytest

from bloodsearch.search.errors import UsageError
from bloodsearch.search.workers import slots
from bloodsearch.search.workers.slots import Slot, plan_slots


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight cores and two GPUs."""
    monkeypatch.setattr(slots, "core_count", lambda: 8)
    monkeypatch.setattr(slots, "cuda_count", lambda: 2)
    monkeypatch.setattr(slots, "has_mps", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.parametrize(
    ("devices", "workers", "per_device", "expected"),
    [
        ("auto", "auto", 1, [("cuda:0", 4), ("cuda:1", 4)]),
        ("auto", "auto", 2, [("cuda:0", 2), ("cuda:0", 2), ("cuda:1", 2), ("cuda:1", 2)]),
        ("cuda:1", "2", 1, [("cuda:1", 4), ("cuda:1", 4)]),
        ("cpu", "auto", 1, [("cpu", 1)] * 8),
        ("cpu", "2", 1, [("cpu", 1)] * 2),
        ("cpu", "16", 1, [("cpu", 1)] * 16),
        ("mps", "auto", 1, [("mps", 8)]),
    ],
)
def test_plan(devices: str, workers: str, per_device: int, expected: list[tuple[str, int]]) -> None:
    slots = plan_slots(devices, workers, per_device, threads=1)
    assert [(s.label, s.threads) for s in slots] == expected


@pytest.mark.parametrize(("threads", "n_workers"), [(1, 8), (3, 2), (4, 2), (16, 1)])
def test_a_training_has_its_threads_whatever_the_number_of_workers(
    threads: int, n_workers: int
) -> None:
    """The number of threads decides a training's last bits, the number of workers must not."""
    assert (
        plan_slots("cpu", "auto", 1, threads=threads) == [Slot("cpu", "cpu", threads)] * n_workers
    )
    assert plan_slots("cpu", "5", 1, threads=threads) == [Slot("cpu", "cpu", threads)] * 5


def test_cores_that_nobody_trains_on() -> None:
    assert slots.idle_cores([Slot("cpu", "cpu", 2)] * 3) == 2
    assert slots.idle_cores([Slot("cpu", "cpu", 4)] * 3) == 0
    assert slots.idle_cores([Slot("cuda:0", "cuda:0", 1)]) == 0


@pytest.mark.parametrize(
    ("devices", "workers", "per_device", "message"),
    [
        ("cuda:2", "auto", 1, "this machine has 2 CUDA devices"),
        ("cuda:0,cuda:0", "auto", 1, "occurs twice"),
        ("gpu", "auto", 1, "use auto, cpu, mps"),
        ("cuda", "auto", 1, "use auto, cpu, mps"),
        ("cuda:-1", "auto", 1, "use auto, cpu, mps"),
        ("", "auto", 1, "use auto, cpu, mps"),
        ("cpu,cuda:0", "auto", 1, "use auto, cpu, mps"),
        ("cpu", "0", 1, "a number from 1"),
        ("cpu", "many", 1, "a number from 1"),
        ("cpu", "100000", 1, "a number from 1"),
        ("cpu", "auto", 0, "at least 1"),
    ],
)
def test_what_this_machine_cannot_serve(
    devices: str, workers: str, per_device: int, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        plan_slots(devices, workers, per_device, threads=1)


def test_no_apple_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "has_mps", lambda: False)
    with pytest.raises(UsageError, match="no Apple GPU"):
        plan_slots("mps", "auto", 1, threads=1)


def test_no_gpu_falls_back_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "cuda_count", lambda: 0)
    assert {slot.label for slot in plan_slots("auto", "auto", 1, threads=1)} == {"cpu"}


def test_gpu_worker_sees_its_own_device_only() -> None:
    environment = Slot("cuda:1", "cuda:0", 4).environment()
    assert environment["CUDA_VISIBLE_DEVICES"] == "1"
    assert environment["OMP_NUM_THREADS"] == "4"


def test_pinning_inside_a_pinned_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, GPU-abc")
    assert Slot("cuda:1", "cuda:0", 1).environment()["CUDA_VISIBLE_DEVICES"] == "GPU-abc"


def test_a_worker_keeps_few_kernels() -> None:
    # without a limit a worker grows with every trial's shapes
    kept = Slot("cpu", "cpu", 1).environment()
    assert int(kept["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]) <= 256
    assert int(kept["LRU_CACHE_CAPACITY"]) <= 128
