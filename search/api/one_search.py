"""One search, or one part of a study, from its creation to its summary."""

from __future__ import annotations

import functools
import math
import time

import optuna
from optuna.trial import TrialState

from ...studies import StudyFile
from ..data import registry
from ..data.info import Fingerprint
from ..data.load import Dataset, load_dataset
from ..database.outage import is_outage, retry_outage
from ..database.storage import Storage, open_storage
from ..env import storage_url
from ..errors import BloodsearchError, DataError, Interrupted, LostStudyError
from ..evaluation.baselines import baselines_part, queue_baselines
from ..records import trial_record
from ..sampling.grid import grid, grid_part
from ..study import StudyInfo, check_points, create_or_resume, info
from ..study_names import check_name, check_not_reserved, is_reserved
from ..summary import summarize
from ..warm_start import warm_start
from ..workers.launch import LocalLauncher
from ..workers.leases import Leases
from ..workers.slots import Slot, idle_cores
from .events import Notice, OnProgress, SearchEnded
from .parts import DEFAULT_REPLICATES, Part
from .request import FEW_TO_VALIDATE, SearchRequest, is_stored
from .results import SearchResult
from .study import part_name
from .training import run_workers


def _few_images(stored: StudyInfo) -> str | None:
    """Say how little a score on few validation images means, and what the study does about it."""
    n_val, n_judged = stored.dataset.n_images["val"], stored.n_judged
    if stored.kind != "search" or n_val >= FEW_TO_VALIDATE:
        return None
    text = (
        f"there are {n_val} validation images: an accuracy of 0.90 on them is known to "
        f"+-{_half(n_val):.2f}"
    )
    if not stored.n_folds:
        return f"{text} (95 %); --set search.folds=5 judges trials on the training images, too"
    return (
        f"{text} (95 %), so each trial is judged by {stored.n_folds} folds of the {n_judged:,} training and "
        f"validation images, to +-{_half(n_judged):.2f}; --set search.folds=0 does without folds"
    )


def check_groups(file: StudyFile, data: Dataset) -> None:
    """Raise DataError if the images' groups are fewer than the folds that they are to be spread over."""
    n_folds, n_groups = file.search.folds or 0, data.n_groups
    if n_groups is not None and n_groups < n_folds:
        raise DataError(
            f"the training and validation images of {data.info.title} are in {n_groups} groups, too few for "
            f"{n_folds} folds; --set search.folds={n_groups if n_groups > 1 else 0}"
        )


def _half(n: int, accuracy: float = 0.9) -> float:
    """Return half the width of the 95 % interval of an accuracy that was read on `n` images."""
    return 1.96 * math.sqrt(accuracy * (1 - accuracy) / n)


class Run:
    """One search, or one part of a study."""

    def __init__(
        self,
        request: SearchRequest,
        file: StudyFile,
        name: str,
        n_trials: int,
        on_progress: OnProgress,
        part: Part | None = None,
        fitted_from: str | None = None,
    ) -> None:
        self.request, self.on_progress, self.part = request, on_progress, part
        self.fitted_from = fitted_from
        self.started = time.monotonic()
        self.name = name if part is None else part_name(name, part.value)
        self.n_trials = n_trials
        self.file = file
        if part is Part.baselines:
            self.file = baselines_part(file)
        elif part is Part.grid:
            self.file = grid_part(file)
            self.n_trials = n_trials or len(grid(self.file))

    def run(self) -> SearchResult:
        request = self.request
        slots = request.placement.slots(self.file.training.threads)
        check_name(self.name)  # before a database is created for it
        reserved = self.part is None and is_reserved(self.name)
        if reserved and not is_stored(request, self.name):
            check_not_reserved(self.name)
        if request.create_only:
            return self._run(slots, None)
        launcher = request.placement.prepare(slots, collects=request.snapshots)
        try:
            return self._run(slots, launcher)
        finally:
            if launcher is not None:
                launcher.close()

    def _run(self, slots: list[Slot], launcher: LocalLauncher | None) -> SearchResult:
        request = self.request
        data = load_dataset(request.dataset or registry.DEFAULT, request.data_root)
        fingerprint = data.fingerprint
        check_points(self.file, fingerprint.info)
        check_groups(self.file, data)
        storage = open_storage(storage_url(request.storage), create=True)
        study = self._create(storage, fingerprint)
        if request.create_only:
            return self._end(storage, study, in_time=False, created_only=True)
        self._announce(storage, study, fingerprint, slots)
        try:
            in_time = self._train(storage, study, launcher)
        except BloodsearchError as error:
            try:
                self._end(storage, study, in_time=False)
            except Exception as unreachable:
                if not (is_outage(unreachable) or isinstance(error, LostStudyError)):
                    raise
            raise error
        try:
            result = self._end(storage, study, in_time=in_time, waits=True)
        except KeyboardInterrupt:
            raise Interrupted("interrupted; the same command shows the result") from None
        if not in_time:
            self._notice(
                "the time was up before the last trial; run the same command again to resume"
            )
        return result

    def _create(self, storage: Storage, fingerprint: Fingerprint) -> optuna.Study:
        """Create or resume the study, fill its queue and store its budget."""
        if self.part is Part.baselines:
            n_replicates = self.request.replicates or DEFAULT_REPLICATES
            study, self.n_trials = queue_baselines(
                storage, self.name, self.file, fingerprint, n_replicates
            )
        else:
            study = create_or_resume(storage, self.name, self.file, fingerprint)
            self._compare_ladders(info(study).study_file)
        if (source := self.request.from_study) is not None:
            n_queued = warm_start(storage, study, source)
            text = f"{n_queued} points of {source} are tried early"
            self._notice(text if n_queued else f"the points of {source} were queued before")
        self._limit_budget(storage, study)
        study.set_user_attr("n_trials", self.n_trials)
        if self.fitted_from is not None:
            study.set_user_attr("fitted_from", self.fitted_from)
        return study

    def _compare_ladders(self, stored: StudyFile) -> None:
        """Say that a stored study keeps its ladder: one that differs makes no other search to refuse."""
        if stored.ladder != self.file.ladder:
            kept = "keeps the [ladder] that it was made with"
            if stored.ladder is None:
                kept = "was made without a [ladder] and goes on without"
            self._notice(f"study {self.name} {kept}; another --name takes this command's")

    def _limit_budget(self, storage: Storage, study: optuna.Study) -> None:
        """Reduce the budget of a grid to its points: nothing else can be trained."""
        if self.part is Part.baselines or self.file.search.sampler not in ("grid", "baselines"):
            return
        counts = Leases(storage, study).counts()
        n_points = sum(n for state, n in counts.items() if state is not TrialState.FAIL)
        if n_points < self.n_trials:
            kind = "grid" if self.file.search.sampler == "grid" else "study"
            points = "1 point" if n_points == 1 else f"{n_points} points"
            self._notice(
                f"the {kind} has {points}; the budget of {self.n_trials} is reduced to that"
            )
            self.n_trials = n_points

    def _announce(
        self, storage: Storage, study: optuna.Study, fingerprint: Fingerprint, slots: list[Slot]
    ) -> None:
        devices = ", ".join(sorted({slot.label for slot in slots}))
        self._notice(
            f"study {self.name} on {fingerprint.describe()}, {len(slots)} "
            f"worker{'s' * (len(slots) > 1)} on {devices}, storage {storage.shown}"
        )
        if text := _few_images(info(study)):
            self._notice(text)
        if self.request.placement.cluster is None and (n := idle_cores(slots)):
            cores = "1 CPU core is idle" if n == 1 else f"{n} CPU cores are idle"
            self._notice(f"{cores}; --workers auto uses all cores")
        waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        baselines = [record for trial in waiting if (record := trial_record(trial)).baseline]
        if baselines and self.part is None:
            names = ", ".join(str(record.baseline) for record in baselines)
            own = any("epochs" in (record.point or {}) for record in baselines)
            length = ", trained for their own number of epochs" if own else ""
            budget = "--trials" if self.request.minutes is None else "the trials of the search"
            self._notice(
                f"{len(baselines)} of the next trials are the study's baselines ({names}){length}; they "
                f"count towards {budget}, and --no-baselines searches without them"
            )

    def _train(self, storage: Storage, study: optuna.Study, launcher: LocalLauncher | None) -> bool:
        counts = Leases(storage, study).counts()
        n_done = counts[TrialState.COMPLETE] + counts[TrialState.PRUNED]
        if n_done >= self.n_trials:
            # --minutes goes without --trials
            advice = "; a larger --trials adds more" if self.request.minutes is None else ""
            self._notice(f"{n_done} trials are finished already{advice}")
            return True
        return run_workers(
            storage,
            study,
            self.n_trials,
            self.request.placement,
            data_root=self.request.data_root,
            on_progress=self.on_progress,
            timeout_s=self.request.timeout_s,
            owns_process=self.request.owns_process,
            snapshots=self.request.snapshots,
            launcher=launcher,
        )

    def _end(
        self,
        storage: Storage,
        study: optuna.Study,
        *,
        in_time: bool,
        created_only: bool = False,
        waits: bool = False,
    ) -> SearchResult:
        """Tell of the end. With `waits`, a database that restarts just now is waited for."""
        summary = functools.partial(summarize, storage, study)
        result = SearchResult.of(
            retry_outage(summary) if waits else summary(),
            elapsed_seconds=time.monotonic() - self.started,
            in_time=in_time,
            created_only=created_only,
            part=None if self.part is None else self.part.value,
        )
        self.on_progress(SearchEnded(result))
        return result

    def _notice(self, text: str) -> None:
        self.on_progress(Notice(text))
