"""Run workers on a study and report what they finish."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from ..dashboard.publish import Publisher
from ..database.outage import is_outage
from ..database.storage import Storage
from ..evaluation.leaderboard import standing
from ..records import study_record
from ..study import info
from ..watch.watcher import Watcher, configuration_of, mean_of_replicates
from ..workers.launch import Launcher
from ..workers.leases import Leases
from ..workers.supervisor import Supervisor
from .events import Notice, OnProgress, RunEnded, RunStarted, TrialEnded
from .placement import Placement

POLL_S = 1.0
"""Seconds between two looks at the storage for finished trials."""


class Follower:
    """Reports the trials that finish in a study. `tick` is cheap and called several times per second."""

    def __init__(
        self,
        study: optuna.Study,
        n_trials: int,
        on_progress: OnProgress,
        noun: str = "trial",
        on_finished: Callable[[list[FrozenTrial]], None] = lambda trials: None,
        leases: Leases | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        """Report to `on_progress`; `on_finished` receives all finished trials, then the new ones.

        `leases` count the study's trials, which is cheaper at each look than to list them. With a `watcher`
        its snapshots are reported, too.
        """
        self.leases, self.watcher = leases, watcher
        self.study, self.n_trials = study, n_trials
        self.on_progress, self.noun, self.on_finished = on_progress, noun, on_finished
        finished = self._finished()
        on_finished(finished)
        self.seen = {trial.number for trial in finished}
        self.n_done = _n_counted(finished)
        complete = [t for t in finished if t.state is TrialState.COMPLETE]
        self.best: float | None = None
        self.kind = study_record(self.study).kind
        self.ranks = self.kind == "search"  # a replicate's value is no choice
        if self.ranks:
            self.best = max((trial.value or 0.0 for trial in complete), default=None)
        self.polled_at = time.monotonic()

    def start(self) -> None:
        n_done = _n_counted(self._finished())
        self.on_progress(RunStarted(self.study.study_name, self.noun, n_done, self.n_trials))

    def stop(self) -> None:
        try:
            n_done = _n_counted(self._finished())
        except Exception as error:
            if not is_outage(error):
                raise
            n_done = 0
        self.on_progress(RunEnded(self.study.study_name, self.noun, n_done, self.n_trials))

    def tick(self) -> None:
        """Look for finished trials, at most once per POLL_S."""
        if time.monotonic() - self.polled_at < POLL_S:
            return
        if self.watcher is None:
            self.poll()
            return
        self.polled_at = time.monotonic()
        snapshot = self.watcher.look()  # it has counted and read them
        self._report_new(self.watcher.new)
        self.on_progress(snapshot)

    def poll(self) -> None:
        """Report the trials that finished since the last look."""
        self.polled_at = time.monotonic()
        try:
            if self.leases is not None and len(self.seen) == self._n_finished(self.leases):
                return
            finished = self._finished()
        except Exception as error:
            if is_outage(error):
                return  # the workers wait for the storage, and a later look finds the trials
            raise
        self._report_new(finished)

    def _report_new(self, finished: list[FrozenTrial]) -> None:
        new = [trial for trial in finished if trial.number not in self.seen]
        if not new:
            return
        self.on_finished(new)
        self.n_done += _n_counted(new)
        for trial in sorted(new, key=lambda t: (t.datetime_complete or t.datetime_start, t.number)):
            self.seen.add(trial.number)
            self._report(trial)

    def _report(self, trial: FrozenTrial) -> None:
        row = standing(trial)
        is_better = self.best is None or (row.value or 0.0) > self.best
        is_best = self.ranks and row.state == "complete" and is_better
        if is_best:
            self.best = row.value
        mean, n_complete = self._mean(trial)
        self.on_progress(
            TrialEnded(
                row, self.noun, self.n_done, self.n_trials, self.best, is_best, mean, n_complete
            )
        )

    def _mean(self, trial: FrozenTrial) -> tuple[float | None, int]:
        """Return the mean of the complete replicates of `trial`'s configuration, and their number."""
        if self.kind != "replicates":
            return None, 0
        configuration = configuration_of(trial)
        complete = [
            other
            for other in self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
            # of two that ended between two looks, the first line does not know the second
            if other.number in self.seen and configuration_of(other) == configuration
        ]
        return mean_of_replicates(self.kind, complete), len(complete)

    def _n_finished(self, leases: Leases) -> int:
        return sum(n for state, n in leases.counts().items() if state.is_finished())

    def _finished(self) -> list[FrozenTrial]:
        states = tuple(state for state in TrialState if state.is_finished())
        return self.study.get_trials(deepcopy=False, states=states)


def _n_counted(finished: list[FrozenTrial]) -> int:
    return sum(trial.state is not TrialState.FAIL for trial in finished)


def run_workers(
    storage: Storage,
    study: optuna.Study,
    n_trials: int,
    placement: Placement,
    *,
    data_root: Path | None,
    on_progress: OnProgress,
    timeout_s: float | None = None,
    noun: str = "trial",
    owns_process: bool = False,
    snapshots: bool = False,
    launcher: Launcher | None = None,
) -> bool:
    """Train until `study` has `n_trials` finished trials. Return False if the time was up first.

    Args:
        storage: The open storage.
        study: The study whose trials are trained.
        n_trials: The total of complete and pruned trials to reach.
        placement: The devices and the number of workers.
        data_root: The folder with the data; None for the default.
        on_progress: Receives every event.
        timeout_s: Seconds after which the workers are drained.
        noun: What one training is called in events.
        owns_process: Whether a signal may end this process when the storage hangs.
        snapshots: Whether a Snapshot is an event, too, once per POLL_S. Workers' messages are then events
            instead of lines on standard error.
        launcher: One that is prepared; by default that of `placement`.

    Raises Interrupted when drained by a signal or by `bloodsearch stop`.
    """
    leases = Leases(storage, study)
    stored = info(study)
    launcher = launcher or placement.launcher(storage, stored, collects=snapshots)
    watcher = Watcher(storage, study) if snapshots else None
    publisher = Publisher(storage, study, n_trials, lambda text: on_progress(Notice(text)))
    follower = Follower(study, n_trials, on_progress, noun, publisher.add, leases, watcher)

    def tick() -> None:
        follower.tick()
        publisher.tick()

    supervisor = Supervisor(
        leases,
        placement.slots(stored.study_file.training.threads),
        n_trials,
        data_root=data_root,
        launcher=launcher,
        timeout_s=timeout_s,
        on_tick=tick,
        on_message=lambda text: on_progress(Notice(text, warning=True)),
        owns_process=owns_process,
    )
    follower.start()
    has_ended = False
    try:
        in_time = supervisor.run()
        has_ended = True
    finally:
        try:
            follower.poll()
        finally:
            follower.stop()
            # after a signal the command has to end within seconds: no time to draw
            publisher.close(pictures=has_ended)
    return in_time


def train_queued(
    storage: Storage,
    study: optuna.Study,
    placement: Placement,
    *,
    data_root: Path | None,
    on_progress: OnProgress,
    noun: str = "replicate",
    owns_process: bool = False,
    snapshots: bool = False,
    timeout_s: float | None = None,
) -> bool:
    """Train everything that is queued in a study of replicates. Return False if the time was up first."""
    # every replicate that was queued, finished or not: the budget of the replicate study
    leases = Leases(storage, study)
    counts = leases.counts()
    n_trials = sum(n for state, n in counts.items() if state is not TrialState.FAIL)
    study.set_user_attr("n_trials", n_trials)
    in_time = run_workers(
        storage,
        study,
        n_trials,
        placement,
        data_root=data_root,
        on_progress=on_progress,
        timeout_s=timeout_s,
        noun=noun,
        owns_process=owns_process,
        snapshots=snapshots,
    )
    counts = leases.counts()
    return in_time or counts[TrialState.WAITING] + counts[TrialState.RUNNING] == 0
