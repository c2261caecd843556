"""Starting workers, and what a supervisor sees of them: processes of this machine, or of a cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .child_lines import ChildLines
from .slots import Slot

# -P: a user's own models.py or search.py in the current folder must not be imported
PROGRAM: tuple[str, ...] = ("-P", "-m", "bloodsearch", "worker-process")
"""What follows the interpreter in a worker's command."""


@dataclass(frozen=True, slots=True)
class Task:
    """What all workers of a supervisor do."""

    study_name: str
    storage_url: str
    """With its password."""
    n_trials: int | None
    """The study's total of finished trials; None for the total of the last `optimize`."""
    data_root: Path | None

    def arguments(self, slot: Slot, worker_id: str) -> list[str]:
        """Return the arguments of `worker-process`, without those that name its slot and its data."""
        arguments = [self.study_name, "--worker-id", worker_id]
        arguments += ["--device", slot.device, "--threads", str(slot.threads)]
        if self.n_trials is not None:
            arguments += ["--trials", str(self.n_trials)]
        return arguments


@dataclass(frozen=True, slots=True)
class End:
    """How a worker ended."""

    code: int
    """Its exit code; negative for the number of the signal that killed it."""
    how: str
    """The same for people, such as "signal 9"."""
    counts: bool = True
    """Whether an unexpected end counts as a death against the worker's trial."""

    @classmethod
    def of(cls, code: int) -> End:
        """Return the end of a process with this exit code."""
        return cls(code, f"signal {-code}" if code < 0 else f"exit code {code}")


class Worker(Protocol):
    """A started worker, as its supervisor sees it."""

    worker_id: str

    @property
    def place(self) -> str:
        """Where it runs, for people: its device, and in a cluster its machine."""
        ...

    @property
    def waits(self) -> bool:
        """Whether no machine has room for it yet."""
        ...

    def poll(self) -> End | None:
        """Return how it ended; None while it runs or waits."""
        ...

    def terminate(self) -> None:
        """Ask it to put its trial back and end. Does nothing after its end."""
        ...

    def kill(self) -> None:
        """End it at once. Does nothing after its end."""
        ...

    def close(self) -> None:
        """Give up its place. Called after its end."""
        ...


class Launcher(Protocol):
    """Starts the workers of a supervisor."""

    def start(self, task: Task, slot: Slot, worker_id: str, after: Worker | None) -> Worker:
        """Start a worker, if possible in the place of `after`, which has ended."""
        ...

    def lines(self) -> list[str]:
        """Return what is new for the user: lines that workers printed, and what happens to places."""
        ...

    def close(self) -> list[str]:
        """Give up everything and return the last lines. Called after the end of all workers."""
        ...


@dataclass(slots=True)
class LocalWorker:
    """A worker process of this machine."""

    worker_id: str
    place: str
    process: subprocess.Popen[bytes]

    waits = False

    def poll(self) -> End | None:
        code = self.process.poll()
        return None if code is None else End.of(code)

    def terminate(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        if self.process.stdin is not None:
            self.process.stdin.close()


@dataclass(slots=True)
class LocalLauncher:
    """Starts workers as child processes.

    They read thread counts, devices and the storage's address from the environment, because every user of
    the machine can read a command line. They drain when this process dies, because it holds the other end of
    their standard input.
    """

    program: tuple[str, ...] = field(default_factory=lambda: PROGRAM)
    collects: bool = False
    """Whether `lines` returns what workers print, instead of standard error."""
    _lines: ChildLines | None = field(default=None, init=False)

    def start(self, task: Task, slot: Slot, worker_id: str, after: Worker | None) -> LocalWorker:
        """Start a child process."""
        if after is not None:
            after.close()
        if self.collects and self._lines is None:
            self._lines = ChildLines()
        command = [
            sys.executable,
            *self.program,
            *task.arguments(slot, worker_id),
            "--slot",
            slot.label,
        ]
        if task.data_root is not None:
            command += ["--data-root", str(task.data_root)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stderr=self._lines.writer if self._lines else None,
            env={**os.environ, **slot.environment(), "BLOODSEARCH_STORAGE": task.storage_url},
            # a terminal's Ctrl-C reaches the supervisor alone, which then drains its children once
            start_new_session=True,
        )
        return LocalWorker(worker_id, slot.label, process)

    def lines(self) -> list[str]:
        """Return what workers have printed."""
        return self._lines.read() if self._lines else []

    def close(self) -> list[str]:
        """Return what workers printed last."""
        return self._lines.close() if self._lines else []
