"""Whether a worker's process still runs, judged by host, boot, pid and start time."""

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
    """A worker process, described so that other processes can check whether it runs."""

    worker_id: str
    host: str
    pid: int
    pid_started: float
    """Seconds from the machine's boot to the process's start, independent of clock changes."""
    boot_id: str
    """BOOT/NAMESPACE of the machine, and in a cluster /NODE."""
    device: str

    @property
    def node(self) -> str:
        """The first digits of the cluster's id of its node; empty outside of a cluster."""
        return node_of(self.boot_id)


N_NODE_DIGITS = 12
"""Of a node's id, which Ray draws at random: with the boot and the namespace it fits the column."""


def node_of(boot_id: str) -> str:
    """Return the node in an Identity's `boot_id`, empty outside of a cluster."""
    return boot_id.split("/")[2] if boot_id.count("/") == 2 else ""


def own_identity(device: str, *, worker_id: str | None = None, node: str = "") -> Identity:
    """Describe this process, with a new id unless `worker_id` is given. `node`: its id in a cluster."""
    return Identity(
        worker_id=worker_id or uuid.uuid4().hex,
        host=socket.gethostname(),
        pid=os.getpid(),
        pid_started=started(os.getpid()),
        boot_id=f"{_boot_id()}/{node[:N_NODE_DIGITS]}" if node else _boot_id(),
        device=device,
    )


class ProcessState(enum.Enum):
    """The state of a worker's process, as far as this process can see."""

    GONE = enum.auto()
    SUSPENDED = enum.auto()
    """The process exists but does not run (SIGSTOP, a debugger). It may never continue."""
    RUNNING = enum.auto()
    UNKNOWN = enum.auto()
    """The process is on another host or node, in another container, hidden or from before a reboot."""


def process_state(worker: Identity, node: str = "") -> ProcessState:
    """Return the state of the worker's process, as a process on a cluster's `node` may judge it."""
    if worker.host != socket.gethostname():
        return ProcessState.UNKNOWN
    if node and worker.node and worker.node != node:
        # two nodes on one machine: a process that is gone may have been ended with its node, and then the
        # supervisor puts its trial back, unharmed
        return ProcessState.UNKNOWN
    boot, namespace = _boot_id().split("/")
    if worker.boot_id.split("/")[0] != boot:
        # this machine before a reboot, or another machine of the same name
        return ProcessState.UNKNOWN
    if worker.boot_id.split("/")[1] != namespace:
        return ProcessState.UNKNOWN  # another container of this machine, with other pids
    try:
        status = psutil.Process(worker.pid).status()
        # the system reuses pids, so a process is identified by pid and start time
        if abs(started(worker.pid) - worker.pid_started) > 1.0:
            return ProcessState.GONE
    except psutil.NoSuchProcess:
        # /proc may hide the processes of other users (hidepid)
        return ProcessState.UNKNOWN if _is_hidden(worker.pid) else ProcessState.GONE
    except psutil.AccessDenied:
        return ProcessState.UNKNOWN
    if status in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
        return ProcessState.GONE
    if status in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP):
        return ProcessState.SUSPENDED
    return ProcessState.RUNNING


def _is_hidden(pid: int) -> bool:
    """Return whether a process that does not show exists, as another user's."""
    try:
        if pid > 0:  # others name groups of processes
            os.kill(pid, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        pass
    return False


def started(pid: int) -> float:
    """Return when the process started, on Linux in seconds since the boot.

    psutil returns a time of day, which moves with the clock even for processes that started long ago.
    Raises psutil.NoSuchProcess.
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
    """Return BOOT/NAMESPACE. The first changes at every boot, the second differs between containers."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.stat('/proc/self/ns/pid').st_ino}"[:64]
    except OSError:
        return f"{int(psutil.boot_time())}/0"
