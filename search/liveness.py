"""Whether a worker process is still there: by host, boot, pid and start time."""

from __future__ import annotations

import enum
import functools
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


class Fate(enum.Enum):
    """What a look at a worker's process says."""

    GONE = enum.auto()
    STOPPED = enum.auto()
    """It is there and does nothing (SIGSTOP, a debugger): nobody knows whether it will go on."""
    ALIVE = enum.auto()
    UNKNOWN = enum.auto()
    """On another host or in another container: only its beats tell."""


def look_at(worker: Identity) -> Fate:
    if worker.host != socket.gethostname():
        return Fate.UNKNOWN
    boot, namespace = _boot_id().split("/")
    if worker.boot_id.split("/")[0] != boot:
        return Fate.GONE
    if worker.boot_id.split("/")[1] != namespace:
        return Fate.UNKNOWN  # another container of this machine: its pids mean nothing here
    try:
        process = psutil.Process(worker.pid)
        status = process.status()
        # a pid is used again sooner or later; a process is its pid and its start
        if abs(process.create_time() - worker.pid_started) > 1.0:
            return Fate.GONE
    except psutil.NoSuchProcess:
        return Fate.GONE
    except psutil.AccessDenied:
        return Fate.UNKNOWN
    if status in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
        return Fate.GONE
    if status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP):
        return Fate.STOPPED
    return Fate.ALIVE


@functools.cache
def _boot_id() -> str:
    """BOOT/NAMESPACE: the first changes at every boot, the second tells containers apart."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"[:64]
    except OSError:
        return f"{int(psutil.boot_time())}/0"
