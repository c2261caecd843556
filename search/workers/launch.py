"""Starting workers, and what a supervisor sees of them: processes of this machine, or of a cluster."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from .child_lines import ChildLines
from .slots import Slot

# -P: a user's own models.py or search.py in the current folder must not be imported
PROGRAM: tuple[str, ...] = ("-P", "-m", "bloodsearch", "worker-process")
"""What follows the interpreter in a worker's command."""
SPARE: tuple[str, ...] = ("-P", "-m", "bloodsearch.search.cli.spare", "worker-process")
"""The same for a worker that reads the rest of its command from standard input, once it is known."""

KILLED_S = 0.5
"""How long a command that has to end waits for a process that it killed. The system ends one that waits for
a disk or a network folder only when that answers."""


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
        """Let the system end it, which may take a moment. Does nothing after its end."""
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
    _spares: list[tuple[Slot, subprocess.Popen[bytes]]] = field(default_factory=list, init=False)

    def prepare(self, slots: Sequence[Slot]) -> None:
        """Start a process for each slot that imports what a worker needs, before its work is known."""
        if self.program[-1] == SPARE[-1]:
            self._spares = [(slot, self._spawn([*SPARE], slot, {})) for slot in slots]

    def start(self, task: Task, slot: Slot, worker_id: str, after: Worker | None) -> LocalWorker:
        """Start a child process."""
        if after is not None:
            after.close()
        arguments = [*task.arguments(slot, worker_id), "--slot", slot.label]
        if task.data_root is not None:
            arguments += ["--data-root", str(task.data_root)]
        environment = {"BLOODSEARCH_STORAGE": task.storage_url}
        process = self._spare(slot, arguments, environment)
        if process is None:
            process = self._spawn([*self.program, *arguments], slot, environment)
        return LocalWorker(worker_id, slot.label, process)

    def _spare(
        self, slot: Slot, arguments: list[str], environment: dict[str, str]
    ) -> subprocess.Popen[bytes] | None:
        """Return the slot's spare process, which has got its work; None if there is none or it has died."""
        for i, (of, process) in enumerate(self._spares):
            if of == slot:
                del self._spares[i]
                assert process.stdin is not None
                work = {"arguments": arguments, "environment": environment}
                try:
                    process.stdin.write(json.dumps(work).encode() + b"\n")
                    process.stdin.flush()
                except OSError:
                    end(process)
                    return None
                return process
        return None

    def _spawn(
        self, arguments: list[str], slot: Slot, environment: dict[str, str]
    ) -> subprocess.Popen[bytes]:
        if self.collects and self._lines is None:
            self._lines = ChildLines()
        return subprocess.Popen(
            [sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stderr=self._lines.writer if self._lines else None,
            env={**os.environ, **slot.environment(), **environment},
            # a terminal's Ctrl-C reaches the supervisor alone, which then drains its children once
            start_new_session=True,
        )

    def lines(self) -> list[str]:
        """Return what workers have printed."""
        return self._lines.read() if self._lines else []

    def close(self) -> list[str]:
        """End what was prepared in vain, and return what workers printed last."""
        for _, process in self._spares:
            end(process)
        self._spares = []
        lines, self._lines = self._lines, None
        return lines.close() if lines else []


def end(process: subprocess.Popen[Any]) -> None:
    """Kill a process and close its standard input. Does not wait for one that hangs in the system."""
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(KILLED_S)
    if process.stdin is not None:
        with contextlib.suppress(OSError):  # what a dead process did not read
            process.stdin.close()
