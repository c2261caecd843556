"""Device slots for workers, checked without importing torch in this process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from ..cores import core_count
from ..errors import UsageError

MAX_WORKERS = 512
# oneDNN, OpenMP and BLAS each have their own pool; all get the same number
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# oneDNN and torch's layer above it each keep the kernels of their last 1,024 shapes, and every trial brings
# new ones (docs/concepts/engine.md). The largest CNN of the default study needs 104 of the first kind.
KERNEL_CACHE = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "200", "LRU_CACHE_CAPACITY": "64"}


@dataclass(frozen=True, slots=True)
class Slot:
    """One worker's place. `label` names the device on the machine, `device` in the worker's process."""

    label: str
    device: str
    threads: int

    def environment(self) -> dict[str, str]:
        """Return the variables to set before the worker imports torch."""
        variables = dict.fromkeys(THREAD_VARIABLES, str(self.threads)) | KERNEL_CACHE
        if self.label.startswith("cuda:"):
            variables["CUDA_VISIBLE_DEVICES"] = _visible(int(self.label.removeprefix("cuda:")))
        return variables


def plan_slots(devices: str, workers: str, per_device: int, *, threads: int) -> list[Slot]:
    """Return one slot per worker. Raises UsageError for devices or counts that this machine does not have.

    Args:
        devices: "auto", "cpu", "mps" or a list like "cuda:0,cuda:1".
        workers: A number, or "auto": one per device slot, on a CPU as many as have `threads` cores each.
        per_device: Slots per device.
        threads: Threads per training on a CPU. Beside a GPU the cores are divided among the workers.
    """
    if per_device < 1:
        raise UsageError(f"--workers-per-device {per_device}: at least 1")
    labels = _devices(devices)
    n_cores = core_count()
    if labels == ["cpu"]:
        places = ["cpu"] * (max(1, n_cores // threads) if per_device == 1 else per_device)
    else:
        places = [label for label in labels for _ in range(per_device)]
    n_workers = len(places) if workers == "auto" else _count(workers)
    if labels != ["cpu"]:
        threads = max(1, n_cores // n_workers)
    chosen = [places[i % len(places)] for i in range(n_workers)]
    return [
        Slot(label, "cuda:0" if label.startswith("cuda:") else label, threads) for label in chosen
    ]


def idle_cores(slots: list[Slot]) -> int:
    """Return the number of CPU cores these workers leave idle, 0 if they train on a GPU."""
    if any(slot.device != "cpu" for slot in slots):
        return 0
    return max(0, core_count() - sum(slot.threads for slot in slots))


def _count(workers: str) -> int:
    if workers.isdecimal() and 1 <= int(workers) <= MAX_WORKERS:
        return int(workers)
    raise UsageError(f'--workers {workers}: "auto" or a number from 1 to {MAX_WORKERS}')


def _devices(devices: str) -> list[str]:
    if devices == "auto":
        return [f"cuda:{i}" for i in range(cuda_count())] or ["cpu"]
    labels = [label.strip() for label in devices.split(",")]
    if labels == ["mps"] and not has_mps():
        raise UsageError(f"--devices {devices}: this machine has no Apple GPU that torch can use")
    if labels in (["cpu"], ["mps"]):
        return labels
    for label in labels:
        index = label.removeprefix("cuda:")
        if not label.startswith("cuda:") or not index.isdecimal():
            raise UsageError(f"--devices {label}: use auto, cpu, mps, or cuda:N,cuda:M,...")
        if int(index) >= (n := cuda_count()):
            raise UsageError(f"--devices {label}: this machine has {n} CUDA devices")
    if len(set(labels)) < len(labels):
        raise UsageError(f"--devices {devices}: a device occurs twice; use --workers-per-device")
    return labels


def cuda_count() -> int:
    """Return the number of CUDA devices that torch can use. Starts a child only if there is a driver."""
    if not (shutil.which("nvidia-smi") or Path("/dev/nvidiactl").exists()):
        return 0
    return _ask_torch("torch.cuda.device_count()")


def has_mps() -> bool:
    """Return whether torch can use an Apple GPU. Starts a child only on a Mac."""
    return sys.platform == "darwin" and _ask_torch("torch.backends.mps.is_available()") > 0


def _ask_torch(question: str) -> int:
    """Return a number from torch in a child process, because this process must not import it."""
    code = f"import torch; print(int({question}))"
    answer = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False
    )
    return int(answer.stdout) if answer.returncode == 0 else 0


def _visible(index: int) -> str:
    """Return the name of device `index` for a child, if this process itself sees only some devices."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[index].strip() if visible else str(index)
