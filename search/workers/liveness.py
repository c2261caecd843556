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
    """Seconds from the machine's start to the process's: no change of the clock touches it."""
    boot_id: str
    device: str


def own_identity(device: str) -> Identity:
    return Identity(
        worker_id=uuid.uuid4().hex,
        host=socket.gethostname(),
        pid=os.getpid(),
        pid_started=started(os.getpid()),
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
    """On another host, in another container or before a reboot: only its beats tell."""


def look_at(worker: Identity) -> Fate:
    if worker.host != socket.gethostname():
        return Fate.UNKNOWN
    boot, namespace = _boot_id().split("/")
    if worker.boot_id.split("/")[0] != boot:
        return Fate.UNKNOWN  # this machine before a reboot, or another one of the same name
    if worker.boot_id.split("/")[1] != namespace:
        return Fate.UNKNOWN  # another container of this machine: its pids mean nothing here
    try:
        status = psutil.Process(worker.pid).status()
        # a pid is used again sooner or later; a process is its pid and its start
        if abs(started(worker.pid) - worker.pid_started) > 1.0:
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


def started(pid: int) -> float:
    """When the process started. Raises psutil.NoSuchProcess.

    On Linux in seconds since the boot: the time of day, which psutil gives, moves with the clock, also
    for processes that have been running for long.
    """
    try:
        # the command's name, in brackets, may hold anything; the start is the 22nd field
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            raise psutil.NoSuchProcess(pid) from None
        return float(psutil.Process(pid).create_time())


@functools.cache
def _boot_id() -> str:
    """BOOT/NAMESPACE: the first changes at every boot, the second tells containers apart."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"[:64]
    except OSError:
        return f"{int(psutil.boot_time())}/0"
