"""Looks at a study again and again, and tells what changed. Works from any machine."""

from __future__ import annotations

import datetime
import itertools
import statistics
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import optuna
from optuna.trial import FrozenTrial, TrialState

from ..database.outage import is_outage, reason_of
from ..database.storage import Storage
from ..evaluation.resampling import macro_f1_interval
from ..records import Kind, best_trial, trial_record, trial_seconds
from ..study import info
from ..workers.leases import Leases
from ..workers.registry import WorkerStatus
from .pace import N_RECENT, Pace, Remaining, seconds_left
from .queries import Plan, curves, plan_of
from .snapshot import Best, Happening, Snapshot, WorkerRow

N_HAPPENINGS = 20
FINISHED = tuple(state for state in TrialState if state.is_finished())

Key = tuple[int, str]
"""A running trial's id and its worker's id."""


class Watcher:
    """Watches one study. A look takes two to four queries, and one more after a trial has finished."""

    def __init__(self, storage: Storage, study: optuna.Study) -> None:
        self.storage, self.study = storage, study
        self.info = info(study)
        self.leases = Leases(storage, study)
        self.happenings = deque[Happening](maxlen=N_HAPPENINGS)
        self._pace = Pace()
        self._plans: dict[int, Plan] = {}
        self._holders: dict[int, WorkerStatus] = {}
        self._hosts: set[str] = set()
        self.new: list[FrozenTrial] = []
        """The trials that have finished between the last two looks."""
        self._n_finished = -1
        self._seen: set[int] = set()
        self._best: Best | None = None
        self._mean: float | None = None
        self._mean_seconds: float | None = None
        self._last: Snapshot | None = None
        self._silent_since: float | None = None

    def look(self) -> Snapshot:
        """Return the study as it is now, or as it was last seen while the database does not answer.

        Raises what the database raises if it does not answer to the first look.
        """
        try:
            snapshot = self._look()
        except Exception as error:
            if self._last is None or not is_outage(error):
                raise
            return self._unreachable(error)
        if self._silent_since is not None:
            silent_s = time.monotonic() - self._silent_since
            self.happened(f"the database answers again after {silent_s:.0f} s")
            self._silent_since = None
            snapshot = replace(snapshot, happenings=tuple(self.happenings))
        self._last = snapshot
        return snapshot

    def happened(self, text: str) -> None:
        """Add something noteworthy that the database does not show, such as the death of a worker."""
        self.happenings.append(Happening(datetime.datetime.now(), text))

    def _unreachable(self, error: Exception) -> Snapshot:
        assert self._last is not None
        if self._silent_since is None:
            self._silent_since = time.monotonic()
            self.happened(f"waiting for the database: {reason_of(error)}")
        return replace(
            self._last,
            happenings=tuple(self.happenings),
            silent_s=time.monotonic() - self._silent_since,
            at=datetime.datetime.now(),
        )

    def _look(self) -> Snapshot:
        self.new = []
        counts = self.leases.counts()
        holders, foreign = self.leases.registry.holders()
        n_finished = sum(n for state, n in counts.items() if state.is_finished())
        if n_finished != self._n_finished:
            self._read_finished()
            self._n_finished = n_finished
        rows = self._rows(holders)
        self._notice_moves(holders)
        n_trials = self._budget()
        n_done = counts[TrialState.COMPLETE] + counts[TrialState.PRUNED]
        return Snapshot(
            study=self.study.study_name,
            kind=self.info.kind,
            storage=self.storage.shown,
            data=self.info.fingerprint.describe(),
            n_trials=n_trials,
            complete=counts[TrialState.COMPLETE],
            pruned=counts[TrialState.PRUNED],
            failed=counts[TrialState.FAIL],
            running=counts[TrialState.RUNNING],
            waiting=counts[TrialState.WAITING],
            seconds_left=self._seconds_left(max(0, (n_trials or 0) - n_done), holders, rows),
            best=self._best,
            mean=self._mean,
            workers=rows,
            held_by_another_program=tuple(self._numbers(foreign)),
            happenings=tuple(self.happenings),
            silent_s=None,
            at=datetime.datetime.now(),
        )

    def _budget(self) -> int | None:
        # another `optimize` may have raised it
        budget = self.study.user_attrs.get("n_trials")
        return budget if isinstance(budget, int) else None

    def _read_finished(self) -> None:
        """Read what finished trials decide: the best one, and how long recent ones took."""
        finished = self.study.get_trials(deepcopy=False, states=FINISHED)
        # what is done for each of 10,000 trials takes milliseconds at each one that finishes
        self.new = [trial for trial in finished if trial.number not in self._seen]
        self._seen.update(trial.number for trial in self.new)
        self._mean_seconds = _mean_seconds(finished)
        if self.info.kind != "search":
            complete = [trial for trial in finished if trial.state is TrialState.COMPLETE]
            self._mean = mean_of_replicates(self.info.kind, complete)
            return
        best = best_trial(self.new)
        if best is None or not self._is_better(best):
            return
        before, self._best = self._n_finished, _best(best)
        if before >= 0:
            self.happened(f"new best {self._best.value:.4f}: trial {best.number} {_what(best)}")

    def _is_better(self, trial: FrozenTrial) -> bool:
        best = self._best
        rank = (trial.value or 0.0, -trial.number)
        return best is None or rank > (best.value, -best.trial)

    def _rows(self, holders: list[WorkerStatus]) -> tuple[WorkerRow, ...]:
        trial_ids = [w.trial_id for w in holders if w.trial_id is not None]
        values = curves(self.storage, trial_ids)
        self._read_plans(trial_ids)
        held = [w for w in holders if w.trial_id is not None]
        self._pace.note({_key(w): len(values.get(_key(w)[0], ())) for w in held}, time.monotonic())
        return tuple(self._row(worker, values.get(_key(worker)[0], ())) for worker in holders)

    def _row(self, worker: WorkerStatus, curve: tuple[float, ...]) -> WorkerRow:
        row = WorkerRow(
            worker.host, worker.pid, worker.device, worker.beat_age_s, None, node=worker.node
        )
        if worker.trial_id is None:
            return row
        plan = self._plans.get(worker.trial_id)
        seconds = self._pace.seconds_per_epoch(_key(worker))
        return replace(
            row,
            trial=plan.number if plan else None,
            of_trial=plan.of_trial if plan else None,
            name=plan.name if plan else "",
            family=plan.family if plan else "",
            epochs=plan.epochs if plan else None,
            curve=curve,
            images_per_s=self._n_images() / seconds if seconds else None,
        )

    def _n_images(self) -> int:
        """Return the images of an epoch."""
        data = self.info.dataset
        n_refitted = data.n_images["val"] if self.info.kind == "refits" else 0
        return data.n_trained(self.info.n_folds) + n_refitted

    def _read_plans(self, trial_ids: list[int]) -> None:
        """Read the trials that are new, and those whose parameters were not stored at the last look."""
        for trial_id in trial_ids:
            if trial_id not in self._plans:
                trial = self.storage.optuna.get_trial(trial_id)
                if plan := plan_of(trial, self.info):
                    self._plans[trial_id] = plan
        self._plans = {i: plan for i, plan in self._plans.items() if i in trial_ids}

    def _notice_moves(self, holders: list[WorkerStatus]) -> None:
        """Notice machines that join, and trials that went from a lost worker to another one."""
        now_held = {w.trial_id: w for w in holders if w.trial_id is not None}
        present = {worker.worker_id for worker in holders}
        for trial_id, worker in self._holders.items():
            after = now_held.get(trial_id)
            if after is None or after.worker_id == worker.worker_id or worker.worker_id in present:
                continue
            number = ", ".join(map(str, self._numbers([trial_id])))
            self.happened(
                f"trial {number} resumes on {after.host} {after.device}: its worker on {worker.host} is gone"
            )
        # a trial that waits keeps its last holder, so the next one is noticed
        waiting = {t: w for t, w in self._holders.items() if t not in now_held and self._waits(t)}
        self._holders = waiting | now_held
        hosts = {worker.host for worker in holders}
        if self._hosts:
            for host in sorted(hosts - self._hosts):
                self.happened(f"{host} joined")
        self._hosts |= hosts

    def _waits(self, trial_id: int) -> bool:
        return self.storage.optuna.get_trial(trial_id).state is TrialState.WAITING

    def _numbers(self, trial_ids: list[int]) -> list[int]:
        return sorted(self.storage.optuna.get_trial(trial_id).number for trial_id in trial_ids)

    def _seconds_left(
        self, n_left: int, holders: list[WorkerStatus], rows: tuple[WorkerRow, ...]
    ) -> float | None:
        running = [
            Remaining(row.epoch, row.epochs, self._pace.seconds_per_epoch(_key(worker)))
            for worker, row in zip(holders, rows, strict=True)
            if worker.trial_id is not None
        ]
        return seconds_left(n_left, running, self._mean_seconds, len(holders))


def mean_of_replicates(kind: Kind, complete: Sequence[FrozenTrial]) -> float | None:
    """Return the mean of replicates of one configuration; None if the trials are something else."""
    values = [trial.value for trial in complete if trial.value is not None]
    one = len({configuration_of(trial) for trial in complete}) == 1
    return statistics.fmean(values) if kind == "replicates" and one and values else None


def configuration_of(trial: FrozenTrial) -> tuple[str | None, int | None]:
    """Return what the replicates of one configuration have in common: the baseline or the trial repeated."""
    record = trial_record(trial)
    return record.baseline, record.replicate_of


def _mean_seconds(finished: Sequence[FrozenTrial]) -> float | None:
    """Return the mean time of the last trials, without baselines if there are others."""
    trained = (trial for trial in reversed(finished) if trial.state is not TrialState.FAIL)
    last = list(itertools.islice(trained, 2 * N_RECENT))
    searched = [trial for trial in last if "baseline" not in trial.user_attrs] or last
    times = [seconds for trial in searched[:N_RECENT] if (seconds := trial_seconds(trial))]
    return statistics.fmean(times) if times else None


def _best(trial: FrozenTrial) -> Best:
    record = trial_record(trial)
    interval = None if record.confusion is None else macro_f1_interval(record.confusion)
    return Best(
        trial.number, float(trial.value or 0.0), record.family or "", interval, record.finished
    )


def _what(trial: FrozenTrial) -> str:
    record = trial_record(trial)
    return record.baseline or record.family or ""


def _key(worker: WorkerStatus) -> Key:
    return -1 if worker.trial_id is None else worker.trial_id, worker.worker_id
