"""The supervisor: one worker per slot, restarted when it dies, drained on a signal.

It never imports torch. A launcher starts the workers and says how they end (launch.py).
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..database.outage import is_outage, retry_outage
from ..errors import Interrupted, StorageError
from ..trial.checkpoint_files import remove_leftovers
from .budget_check import STOPPED, check_budget
from .launch import KILLED_S, End, Launcher, LocalLauncher, Task, Worker
from .leases import Leases
from .slots import Slot
from .waiting import WaitNotice
from .watchdog import SIGNALS, watchdog
from .worker import EXIT_RECYCLE, EXIT_RETIRED

DRAIN_S = 20.0
"""How long children may take to put their trials back before they are killed."""
PROMPT_S = 4.0
"""The same after a signal, when the command has to end within 5 s."""
LAST_S = 4.8
"""How long after a signal a command that hangs is ended."""
STOP_EVERY_S = 1.0
"""How often the supervisor looks for a `bloodsearch stop`."""
TICK_S = 0.25
MAX_BACKOFF_S = 30.0
ORDERLY = (0, 2, 3, 4, 5, 130, EXIT_RETIRED)
"""Exit codes after which a new worker would end in the same way."""
MAX_DEATHS_IN_A_ROW = 6
"""After so many deaths, with no trial finished in between, a slot stays empty."""


@dataclass(slots=True)
class _Child:
    slot: Slot
    worker: Worker | None = None
    deaths: int = 0
    finished_at_death: int = 0
    restart_at: float | None = None
    """When a worker starts in the place of the one that died; None while that one runs."""
    retired: int | None = None
    """Exit code with which this slot ended for good."""


@dataclass(slots=True)
class Supervisor:
    """Runs one worker per slot.

    Args:
        leases: The study's leases.
        slots: The places for workers.
        n_trials: The study's total of finished trials; None for the total of the last `optimize`.
        data_root: The folder with the data set.
        launcher: Starts the workers; by default as processes of this machine.
        timeout_s: Seconds after which `run` drains the workers and returns False.
        on_tick: Called a few times per second.
    """

    leases: Leases
    slots: list[Slot]
    n_trials: int | None = None
    data_root: Path | None = None
    launcher: Launcher = field(default_factory=LocalLauncher)
    timeout_s: float | None = None
    on_tick: Callable[[], None] = lambda: None
    on_message: Callable[[str], None] = lambda text: print(f"bloodsearch: {text}", file=sys.stderr)
    """Receives one line per event that the user should read, such as the death of a worker."""
    owns_process: bool = True
    """Whether a signal may end this process when the storage hangs. False in a library call."""
    _signals: int = field(default=0, init=False)
    _signalled_at: float = field(default=0.0, init=False)
    _lost_storage: bool = field(default=False, init=False)
    """Whether the storage did not answer after the last worker's end."""
    _n_stops: int | None = field(default=None, init=False)
    _stop_looked_at: float = field(default=0.0, init=False)
    _children: list[_Child] = field(default_factory=list, init=False)

    def run(self) -> bool:
        """Run workers until the budget is spent. False if the time was up first.

        Raises Interrupted when drained by a signal or by `bloodsearch stop`, LostStudyError when the study
        is gone, and BloodsearchError when all workers stopped early.
        """
        self._children = [_Child(slot) for slot in self.slots]
        self._n_stops = retry_outage(self.leases.registry.n_stops)
        deadline = None if self.timeout_s is None else time.monotonic() + self.timeout_s
        notice = WaitNotice(self.leases.registry, self.on_message)
        with self._handling_signals():
            try:
                for child in self._children:
                    self._start(child)
                while any(child.retired is None for child in self._children):
                    time.sleep(TICK_S)
                    if self._signals:
                        raise Interrupted("interrupted; run the same command again to resume")
                    if self._told_to_stop():
                        raise Interrupted(STOPPED)
                    if deadline is not None and time.monotonic() > deadline:
                        return False
                    for child in self._children:
                        self._look_after(child)
                    self._end_those_without_a_place()
                    notice.tick({c.worker.worker_id for c in self._children if c.worker})
                    self._pass_on(self.launcher.lines())
                    self.on_tick()
            except KeyError:  # Optuna's word for a study that does not exist
                self.leases.check_study()
                raise
            finally:
                self._drain()
                self._pass_on(self.launcher.close())
        if self._signals and self._lost_storage:  # what waits for it next has not heard the signal
            raise Interrupted("interrupted; run the same command again to resume")
        check_budget(self.leases, self.n_trials, [child.retired for child in self._children])
        return True

    def _start(self, child: _Child) -> None:
        child.restart_at = None
        child.worker = self.launcher.start(self._task(), child.slot, uuid.uuid4().hex, child.worker)

    def _task(self) -> Task:
        leases = self.leases
        url = leases.storage.full_url
        return Task(leases.study.study_name, url, self.n_trials, self.data_root)

    def _look_after(self, child: _Child) -> None:
        if child.retired is not None or child.worker is None:
            return
        if child.restart_at is not None:
            if time.monotonic() >= child.restart_at:
                self._start(child)
            return
        end = child.worker.poll()
        if end is None:
            return
        if end.code == EXIT_RECYCLE:
            self._start(child)
        elif end.code in ORDERLY:
            self._retire(child, end.code)
        else:
            self._after_death(child, child.worker, end)

    def _retire(self, child: _Child, code: int) -> None:
        """Leave the slot empty from now on."""
        child.retired = code
        if child.worker is not None:
            child.worker.close()
            child.worker = None

    def _end_those_without_a_place(self) -> None:
        """End the workers that wait for a place in the cluster when another one found the budget spent."""
        if any(child.retired == 0 for child in self._children):
            for child in self._children:
                if child.worker is not None and child.worker.waits:
                    child.worker.kill()
                    self._retire(child, 0)

    def _after_death(self, child: _Child, worker: Worker, end: End) -> None:
        """Put the trial of a dead worker back and start another one, after a growing delay."""
        dead = {worker.worker_id: end.counts}
        retry_outage(lambda: self.leases.reclaim(dead), give_up=self._signalled)
        counts = retry_outage(self.leases.counts, give_up=self._signalled)
        n_finished = sum(n for state, n in counts.items() if state.is_finished())
        child.deaths = child.deaths + 1 if n_finished == child.finished_at_death else 1
        child.finished_at_death = n_finished
        if child.deaths >= MAX_DEATHS_IN_A_ROW:
            self.on_message(
                f"the worker on {worker.place} died {child.deaths} times "
                f"in a row ({end.how}); its slot stays empty"
            )
            self._retire(child, 1)
            return
        delay = min(MAX_BACKOFF_S, 0.25 * 2 ** (child.deaths - 1))
        child.restart_at = time.monotonic() + delay
        self.on_message(
            f"a worker on {worker.place} died ({end.how}); its trial was put back and a new worker starts"
        )

    def _pass_on(self, lines: list[str]) -> None:
        for line in lines:
            self.on_message(line)

    def _signalled(self) -> bool:
        return self._signals > 0

    def _told_to_stop(self) -> bool:
        """Return whether `bloodsearch stop` was called. Workers that are still starting do not notice it."""
        if time.monotonic() - self._stop_looked_at < STOP_EVERY_S:
            return False
        self._stop_looked_at = time.monotonic()
        try:
            return self.leases.registry.n_stops() != self._n_stops
        except Exception as error:
            if is_outage(error):
                return False
            raise

    def _drain(self) -> None:
        """Ask all workers to stop, kill the ones that do not, and put their trials back."""
        workers = [child.worker for child in self._children if child.worker is not None]
        for worker in workers:
            worker.terminate()
        started = time.monotonic()
        for worker in workers:
            while worker.poll() is None and not self._out_of_time(started):
                time.sleep(0.02)
            if worker.poll() is None:
                worker.kill()
        killed = time.monotonic()
        for worker in workers:
            while worker.poll() is None and not self._out_of_time_to_die(killed):
                time.sleep(0.02)
            worker.close()
        # however they ended: that they were slow, or hurried by more signals, says nothing against a trial
        dead = {worker.worker_id: False for worker in workers}
        try:
            retry_outage(lambda: self.leases.reclaim(dead), limit_s=5, give_up=self._signalled)
            retry_outage(
                lambda: remove_leftovers(self.leases.storage, self.leases.study),
                limit_s=5,
                give_up=self._signalled,
            )
            retry_outage(self.leases.forget_notes, limit_s=5, give_up=self._signalled)
        except StorageError:
            self._lost_storage = True

    def _out_of_time(self, started: float) -> bool:
        now = time.monotonic()
        if self._signals:
            return self._signals > 1 or now > self._signalled_at + PROMPT_S
        return now > started + DRAIN_S

    def _out_of_time_to_die(self, killed: float) -> bool:
        """Return whether a killed worker is waited for no longer: it hangs in the system."""
        return time.monotonic() > killed + (KILLED_S if self._signals else DRAIN_S)

    def _kill_children(self) -> None:
        """Kill the workers of a supervisor that hangs and is about to be ended."""
        workers = [child.worker for child in self._children if child.worker is not None]
        for worker in workers:
            worker.kill()
        print(
            "bloodsearch: interrupted while the storage did not answer; "
            "run the same command again to resume",
            file=sys.stderr,
            flush=True,
        )
        # a signal into a cluster is on its way for a moment, and would end with this process
        deadline = time.monotonic() + KILLED_S
        while any(worker.poll() is None for worker in workers) and time.monotonic() < deadline:
            time.sleep(0.02)

    @contextlib.contextmanager
    def _handling_signals(self) -> Iterator[None]:
        def count(number: int, frame: object) -> None:
            self._signalled_at = self._signalled_at or time.monotonic()
            self._signals += 1

        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may set handlers, and only it receives signals
            return
        previous = {n: signal.signal(n, count) for n in SIGNALS}
        try:
            if self.owns_process:
                with watchdog(LAST_S, self._kill_children, Interrupted.exit_code):
                    yield
            else:
                yield
        finally:
            for n, handler in previous.items():
                signal.signal(n, handler)
