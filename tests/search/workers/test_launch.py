"""Worker processes that are started before their work is known."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import cast

import psutil
import pytest

from bloodsearch.search.cli import spare
from bloodsearch.search.workers import launch
from bloodsearch.search.workers.launch import SPARE, LocalLauncher, LocalWorker, Task
from bloodsearch.search.workers.slots import Slot

CPU = Slot("cpu", "cpu", 1)
TASK = Task("tiny", "postgresql://user:secret@localhost/db", 3, Path("/images"))
ECHO = "import sys; print(sys.stdin.readline(), end='', file=sys.stderr); sys.stdin.read()"


@pytest.fixture
def echoes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare processes that print their line instead of importing torch."""
    monkeypatch.setattr(launch, "SPARE", ("-c", ECHO, "worker-process"))


def printed(launcher: LocalLauncher) -> list[str]:
    deadline = time.monotonic() + 20
    while not (lines := launcher.lines()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return lines


def test_a_prepared_process_gets_the_work_and_ends_with_its_supervisor(echoes: None) -> None:
    launcher = LocalLauncher(collects=True)
    launcher.prepare([CPU])
    worker = launcher.start(TASK, CPU, "me", None)
    (line,) = printed(launcher)
    work = json.loads(line)
    assert work["arguments"] == [
        "tiny", "--worker-id", "me", "--device", "cpu", "--threads", "1", "--trials", "3",
        "--slot", "cpu", "--data-root", "/images",
    ]  # fmt: skip
    assert work["environment"] == {"BLOODSEARCH_STORAGE": TASK.storage_url}
    # every user of the machine can read a command line
    assert "secret" not in " ".join(psutil.Process(worker.process.pid).cmdline())
    assert worker.poll() is None
    worker.close()
    assert worker.process.wait(20) == 0
    assert launcher.close() == []


def test_what_was_prepared_in_vain_is_ended(echoes: None) -> None:
    launcher = LocalLauncher()
    launcher.prepare([CPU, CPU])
    worker = launcher.start(TASK, CPU, "me", None)
    (left,) = (process for _, process in launcher._spares)
    launcher.close()
    launcher.close()
    assert left.returncode is not None
    assert worker.poll() is None
    worker.kill()
    assert ended(worker) == -signal.SIGKILL


def test_a_slot_whose_process_died_gets_another(
    echoes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = LocalLauncher()
    launcher.prepare([CPU])
    ((_, process),) = launcher._spares
    process.kill()
    process.wait()
    launcher.program = ("-c", "import sys; sys.exit('tiny' in sys.argv)")
    assert ended(launcher.start(TASK, CPU, "me", None)) == 1


def test_another_program_is_not_prepared() -> None:
    launcher = LocalLauncher(("-c", "pass"))
    launcher.prepare([CPU])
    assert launcher._spares == []
    assert ended(launcher.start(TASK, CPU, "me", None)) == 0


def ended(worker: LocalWorker) -> int:
    code = worker.process.wait(20)
    worker.close()
    return code


def test_a_spare_ends_silently_when_nobody_needs_it() -> None:
    command = [sys.executable, *SPARE]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_only_the_first_line_is_taken_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows belongs to the thread that watches for the supervisor's death."""
    reader, writer = os.pipe()
    os.write(writer, b"work\nrest")
    os.close(writer)
    read = os.read
    monkeypatch.setattr(os, "read", lambda _, n: read(reader, n))
    assert spare._first_line() == b"work"
    assert os.read(0, 100) == b"rest"
    assert spare._first_line() == b""  # closed: no work
    os.close(reader)


class Stuck:
    """A killed process that the system does not end, because it waits for a disk."""

    stdin = None

    def __init__(self) -> None:
        self.n_kills = 0

    def kill(self) -> None:
        self.n_kills += 1

    def wait(self, timeout: float | None = None) -> int:
        assert timeout is not None, "waits for ever"
        raise subprocess.TimeoutExpired("worker", timeout)


def test_a_process_that_cannot_end_is_not_waited_for() -> None:
    stuck = Stuck()
    process = cast("subprocess.Popen[bytes]", stuck)
    LocalWorker("me", "cpu", process).kill()
    launcher = LocalLauncher()
    launcher._spares = [(CPU, process)]
    launcher.close()
    assert stuck.n_kills == 2
