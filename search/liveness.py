"""Whether a worker process is still there: by host, boot, pid and start time."""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Identity:
    """A worker process, as others can check it."""

    worker_id: str
    host: str
    pid: int
    pid_started: float
    boot_id: str
    device: str


def own_identity(device: str) -> Identity:
    return Identity(
        worker_id=uuid.uuid4().hex,
        host=socket.gethostname(),
        pid=os.getpid(),
        pid_started=psutil.Process().create_time(),
        boot_id=_boot_id(),
        device=device,
    )


def is_known_dead(worker: Identity) -> bool:
    """Whether the process is certainly gone. False for other hosts: they cannot be looked at."""
    if worker.host != socket.gethostname():
        return False
    boot, namespace = _boot_id().split("/")
    if worker.boot_id.split("/")[0] != boot:
        return True
    if worker.boot_id.split("/")[1] != namespace:
        return False  # another container of this machine: its pids cannot be looked up from here
    try:
        process = psutil.Process(worker.pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        # a pid is used again sooner or later; a process is its pid and its start
        return bool(abs(process.create_time() - worker.pid_started) > 1.0)
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


def _boot_id() -> str:
    """BOOT/NAMESPACE: the first changes at every boot, the second tells containers apart."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"[:64]
    except OSError:
        return f"{int(psutil.boot_time())}/0"
