"""A place for one worker in the cluster: an actor that runs the worker as a process of its own.

The worker is the same command that a supervisor starts on its own machine. It drains when the actor ends,
because the actor holds the other end of its standard input. So it does when the driver dies, and when the
node leaves the cluster while its machine goes on.
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import ray
from numpy.typing import NDArray

from .. import __version__, env
from ..data.info import Fingerprint
from ..workers.child_lines import PREFIX
from . import node_data

# Ray kills the children of an actor that ends, which would leave them no time to put their trials back.
ENVIRONMENT = {"RAY_kill_child_processes_on_worker_exit": "0"}


def versions() -> dict[str, str]:
    """Return what must be equal wherever trials of one study are trained."""
    return {
        "Python": ".".join(platform.python_version_tuple()[:2]),
        # without the part after "+": a machine without a GPU has another build of the same release
        "torch": metadata.version("torch").split("+")[0],
        "bloodsearch": __version__,
    }


class Place:
    """Runs one worker after the other as a child process."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        context = ray.get_runtime_context()
        self._node: str = context.get_node_id()
        gpus = context.get_accelerator_ids().get("GPU", [])
        self._device = f"cuda:{gpus[0]}" if gpus else "cpu"

    def look(self) -> dict[str, str]:
        """Return this node's id and host, the device that Ray has assigned, and `versions`."""
        where = {"node": self._node, "host": socket.gethostname(), "device": self._device}
        return where | versions()

    def find_data(
        self,
        fingerprint: Fingerprint,
        data_root: Path | None,
        content: NDArray[np.uint8] | None = None,
    ) -> tuple[bool, Path | None]:
        """Return whether the data are on this node, and their folder; `content` is written here first."""
        if content is not None:
            node_data.store_data(fingerprint, content)
        return node_data.find_data(fingerprint, data_root)

    def start(
        self, program: list[str], arguments: list[str], environment: dict[str, str], folder: Path
    ) -> None:
        """Start a worker in `folder`, or in the user's cache on a machine that does not have it."""
        if not folder.is_dir():
            folder = env.cache_folder() or Path("/tmp")
            folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, *program, *arguments]
        self._process = subprocess.Popen(
            [*command, "--slot", self._device, "--node", self._node],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
            cwd=folder,
            start_new_session=True,
        )

    def report(self) -> str | int:
        """Wait for the worker and return the next line that it printed, or its exit code."""
        process = self._process
        assert process is not None
        assert process.stderr is not None
        assert process.stdin is not None
        for line in process.stderr:
            if text := line.decode("utf-8", "replace").removeprefix(PREFIX).rstrip():
                return text
        code = process.wait()
        process.stderr.close()
        process.stdin.close()
        return code

    def signal(self, number: int) -> None:
        """Send a signal to the worker, if it still runs."""
        if self._process is not None:
            self._process.send_signal(number)
