"""This process's connection to a Ray cluster, and what the cluster has."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..cores import core_count
from ..errors import StorageError, UsageError

if TYPE_CHECKING:
    from ..database.storage import Storage

QUIET = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # or Ray explains the variable on standard error
}
LOCAL = {
    # Ray's variable for macOS. Elsewhere, too, it makes Ray listen on loopback alone (Ray 2.60.0).
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_worker_niceness": "0",
    "RAY_enable_worker_prestart": "0",
}


@dataclass(frozen=True, slots=True)
class Resources:
    """What the living nodes of a cluster have, taken or not."""

    nodes: int
    cpus: float
    gpus: float

    def __str__(self) -> str:
        nodes = "1 node" if self.nodes == 1 else f"{self.nodes} nodes"
        gpus = f", {_count(self.gpus, 'GPU')}" if self.gpus else ""
        return f"{nodes}, {_count(self.cpus, 'CPU')}{gpus}"


def connect(address: str) -> None:
    """Connect this process to the cluster, once. Raises UsageError when it does not answer."""
    os.environ.update({key: value for key, value in QUIET.items() if key not in os.environ})
    if address == "local":
        os.environ.update({key: value for key, value in LOCAL.items() if key not in os.environ})
    try:
        import ray
    except ModuleNotFoundError:
        raise UsageError(
            '--cluster needs Ray, which is not installed; install it with pip install "ray[client]", or '
            "bloodsearch with its extra: pip install -e '.[ray]'"
        ) from None
    if ray.is_initialized():
        return
    options = {"num_cpus": core_count(), "include_dashboard": False} if address == "local" else {}
    try:
        with _own_sigterm():
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                namespace="bloodsearch",
                **options,
            )
    except Exception as error:  # Ray raises many kinds, and gRPC its own
        raise UsageError(f"--cluster {address}: {_why_not(address, error)}") from error
    _silence()


def resources() -> Resources:
    """Return what the connected cluster has."""
    import ray

    total = ray.cluster_resources()
    n_nodes = sum(bool(node["Alive"]) for node in ray.nodes())
    return Resources(n_nodes, total.get("CPU", 0.0), total.get("GPU", 0.0))


def taken() -> tuple[float, float]:
    """Return the CPUs and GPUs of the connected cluster that somebody's workers take."""
    import ray

    total, free = ray.cluster_resources(), ray.available_resources()
    cpus, gpus = (total.get(kind, 0.0) - free.get(kind, 0.0) for kind in ("CPU", "GPU"))
    return cpus, gpus


def check_storage(storage: Storage) -> None:
    """Raise StorageError for an SQLite file that not all nodes of the cluster share with this machine."""
    import ray

    if storage.sqlite_path is None:
        return
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) == 1 and nodes[0]["NodeManagerHostname"] == socket.gethostname():
        return
    where = f"{len(nodes)} nodes" if len(nodes) > 1 else "its node on another machine"
    raise StorageError(
        f"SQLite serves one machine, and this cluster has {where}; name a PostgreSQL database: "
        "--storage postgresql+psycopg://USER@HOST/DB"
    )


def _count(number: float, unit: str) -> str:
    return f"{number:g} {unit}{'s' * (number != 1)}"


def _why_not(address: str, error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    if isinstance(error, ConnectionError) or "Failed to connect" in text:
        if address == "auto":
            return (
                "no Ray cluster runs on this machine; start one with `ray start --head`, or use "
                "--cluster local"
            )
        return f"no Ray cluster answers there ({text})"
    return f"{type(error).__name__}: {text}"


def _silence() -> None:
    """Keep what Ray prints of its own processes off this process's terminal and out of its JSON.

    `log_to_driver=False` does not: the end of a node prints 20 lines on standard output (Ray 2.60.0).
    """
    from ray._private import worker
    from ray.util.client import ray as client

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *args, **kwargs: None
    if client.is_connected():
        client.worker.log_client.disable_logs()


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep this process's handler of SIGTERM, which `ray.init` replaces by one that exits with code 15."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
