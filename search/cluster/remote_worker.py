"""A worker in the cluster, as its supervisor sees it. Steps towards its start are taken when it is polled."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from ..errors import DataError, Interrupted, RefusedError
from ..workers.launch import End
from .place import versions

if TYPE_CHECKING:
    from .launcher import ClusterLauncher

KILL_S = 2.0
"""How long a killed worker's exit code is waited for."""
LOST = End(-1, "its node or its place there is gone", counts=False)


class RemoteWorker:
    """A worker that waits for a place, is prepared there, and then runs."""

    def __init__(
        self,
        worker_id: str,
        *,
        launcher: ClusterLauncher,
        data_root: Path | None,
        program: list[str],
        arguments: list[str],
        environment: dict[str, str],
    ) -> None:
        self.worker_id = worker_id
        self._launcher, self._data_root = launcher, data_root
        self._program, self._arguments, self._environment = program, arguments, environment
        self._folder = Path.cwd()
        self._actor: Any = None
        self._where: dict[str, str] = {}
        self._pending: Any = None
        self._then: Callable[[Any], None] = self._looked
        self._runs = False
        self._end: End | None = None
        self._killed_at = 0.0

    @property
    def place(self) -> str:
        """Where it runs, for people."""
        return "{device} on {host}".format(**self._where) if self._where else "the cluster"

    @property
    def waits(self) -> bool:
        """Whether no node has room for it yet."""
        return not self._where and self._end is None

    @property
    def has_place(self) -> bool:
        """Whether its place can take another worker."""
        return self._actor is not None and bool(self._where) and self._end is not LOST

    def start_in(self, actor: Any) -> None:
        """Start in a new place, as soon as there is room for it."""
        self._actor = actor
        self._next(actor.look.remote(), self._looked)

    def start_after(self, other: RemoteWorker) -> None:
        """Start in the place of a worker that has ended."""
        self._actor, other._actor = other._actor, None
        self._where, self._data_root = other._where, other._data_root
        self._start()

    def poll(self) -> End | None:
        """Return how it ended; None while it runs or waits."""
        try:
            while self._end is None and ray.wait([self._pending], timeout=0)[0]:
                self._then(ray.get(self._pending))
        except RayTaskError as error:
            self._refuse(f"a worker cannot start on {self.place}: {_last_line(error)}")
        except RayActorError as error:
            if error.actor_init_failed:
                self._refuse(f"a worker cannot start in the cluster: {_last_line(error)}")
            else:
                self._end_with(LOST)
        except (RayError, ConnectionError):
            self._end_with(LOST)
        if self._end is None and self._killed_at and time.monotonic() > self._killed_at + KILL_S:
            self._end_with(End.of(-signal.SIGKILL))
        return self._end

    def terminate(self) -> None:
        """Ask it to drain.

        One that is still starting ends with its place: `close` takes its standard input away.
        """
        if self._runs:
            self._signal(signal.SIGTERM)
        elif self._end is None:
            self._end = End.of(Interrupted.exit_code)

    def kill(self) -> None:
        """End it, without waiting for that: a hundred workers are to end as fast as one."""
        if self._runs:
            self._signal(signal.SIGKILL)
            self._killed_at = self._killed_at or time.monotonic()
        else:
            self._end = self._end or End.of(-signal.SIGKILL)

    def close(self) -> None:
        """Give up its place."""
        if self._actor is not None:
            with contextlib.suppress(Exception):  # the cluster may be gone
                ray.kill(self._actor)
            self._actor = None

    def _next(self, pending: Any, then: Callable[[Any], None]) -> None:
        self._pending, self._then = pending, then

    def _looked(self, where: dict[str, str]) -> None:
        self._where = where
        here = versions()
        others = [name for name in here if where[name] != here[name]]
        if others:
            theirs = ", ".join(f"{name} {where[name]}" for name in others)
            ours = ", ".join(f"{name} {here[name]}" for name in others)
            self._refuse(
                f"{where['host']} has {theirs}, this machine {ours}: install the same on all"
            )
        elif self._launcher.fingerprint.provenance == "synthetic":
            self._start()
        else:
            self._find_data()

    def _find_data(self) -> None:
        fingerprint = self._launcher.fingerprint
        found = self._actor.find_data.remote(fingerprint, self._data_root)
        self._next(found, self._found)

    def _found(self, answer: tuple[bool, Path | None]) -> None:
        is_there, root = answer
        if is_there:
            self._start_with(root)
            return
        fingerprint = self._launcher.fingerprint
        try:
            content = self._launcher.content(self._data_root)
        except DataError as error:
            self._refuse(
                f"{self._where['host']} does not have the data, and {error}", DataError.exit_code
            )
            return
        sent = self._actor.find_data.remote(fingerprint, self._data_root, content)
        self._next(sent, self._sent)

    def _sent(self, answer: tuple[bool, Path | None]) -> None:
        is_there, root = answer
        if is_there:
            self._start_with(root)
        else:
            self._refuse(f"the data that were sent to {self._where['host']} are not the study's")

    def _start_with(self, data_root: Path | None) -> None:
        self._data_root = data_root
        self._start()

    def _start(self) -> None:
        arguments = list(self._arguments)
        if self._data_root is not None:
            arguments += ["--data-root", str(self._data_root)]
        started = self._actor.start.remote(
            self._program, arguments, self._environment, self._folder
        )
        self._next(started, self._started)

    def _started(self, nothing: None) -> None:
        self._runs = True
        self._report()

    def _report(self) -> None:
        self._next(self._actor.report.remote(), self._reported)

    def _reported(self, answer: str | int) -> None:
        if isinstance(answer, str):
            self._launcher.tell_once(answer)
            self._report()
        else:
            self._end_with(End.of(answer))

    def _refuse(self, line: str, code: int = RefusedError.exit_code) -> None:
        self._launcher.tell_once(line)
        self._end_with(End(code, line))

    def _end_with(self, end: End) -> None:
        self._runs = False
        self._end = end

    def _signal(self, number: int) -> None:
        with contextlib.suppress(RayError, ConnectionError):
            self._actor.signal.remote(number)


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).strip().split("\n") if line.strip()]
    return lines[-1].strip()[:300] if lines else type(error).__name__
