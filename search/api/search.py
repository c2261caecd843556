"""Run or resume a search."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

import optuna
from optuna.trial import TrialState

from ...studies import Overrides, StudyFile
from ..data import registry
from ..data.info import Fingerprint
from ..data.load import load_dataset
from ..database.outage import is_outage
from ..database.storage import Storage, open_storage
from ..env import storage_url
from ..errors import BloodsearchError, LostStudyError, UsageError
from ..evaluation.baselines import baselines_part, queue_baselines
from ..records import trial_record
from ..sampling.grid import grid, grid_part
from ..study import (
    check_name,
    check_not_reserved,
    check_points,
    create_or_resume,
)
from ..study_names import is_reserved
from ..summary import summarize
from ..warm_start import warm_start
from ..workers.leases import Leases
from ..workers.slots import Slot, idle_cores
from .arguments import one_of, whole
from .events import Notice, OnProgress, SearchEnded, ignore
from .parts import DEFAULT_REPLICATES, Part, choose_parts
from .placement import AUTO, Placement
from .request import SearchRequest, is_stored, resolve, study_name
from .results import SearchResult
from .study import StudySource, part_name
from .training import run_workers


def optimize(
    study: StudySource | None = None,
    *,
    trials: int | None = None,
    storage: str | None = None,
    name: str | None = None,
    dataset: str | None = None,
    data_root: str | Path | None = None,
    overrides: Overrides | None = None,
    epochs: int | None = None,
    seed: int | None = None,
    arch: str | None = None,
    baselines: bool = True,
    from_study: str | None = None,
    only: Literal["baselines", "grid"] | None = None,
    replicates: int | None = None,
    placement: Placement = AUTO,
    timeout_s: float | None = None,
    create_only: bool = False,
    snapshots: bool = False,
    on_progress: OnProgress = ignore,
) -> SearchResult:
    """Run or resume a search until the study holds `trials` finished trials.

    Args:
        study: A shipped study's name, a study file's path, or a dictionary with a study file's keys.
            None: the stored study of `name` if there is one, else the default study.
        trials: The study's total of complete and pruned trials to reach; default: the study file's.
        storage: The storage's URL; default $BLOODSEARCH_STORAGE, else a file in the current folder.
        name: The study's name in the storage; default: the study file's.
        dataset: A MedMNIST set, perhaps with a size ("bloodmnist", the default; "pathmnist@64"), the path
            of an .npz file, or "synthetic", which needs no file.
        data_root: The folder with the data; default $BLOODSEARCH_DATA, else ~/.medmnist.
        overrides: Changes to the study file: {"training.epochs": 5} or ["training.epochs=5"].
        epochs: Epochs of every searched trial, whatever its family.
        seed: The search's seed.
        arch: Search one family alone, "mlp" or "cnn".
        baselines: False: search without the study file's baselines.
        from_study: A stored study whose best points are tried early.
        only: Run one part of the study: its baselines with replicates, or its grid.
        replicates: Seeds per baseline, with `only="baselines"`; default 3.
        placement: Devices and number of workers.
        timeout_s: Seconds after which the search stops; the same call resumes it.
        create_only: Create the study and its budget, and train nothing.
        snapshots: Make a Snapshot of the study an event, too, about once a second.
        on_progress: Receives one event at a time. An exception that it raises stops the search.

    Raises UsageError for arguments out of range; Interrupted after Ctrl-C, when every trial was given back
    and the same call resumes the search; otherwise another BloodsearchError, or StudyFileError.
    """
    if only is not None:
        one_of("only", only, list(Part))
    if timeout_s is not None and not timeout_s >= 0:
        raise UsageError(f"timeout_s must be at least 0, got {timeout_s!r}")
    return run_search(
        SearchRequest(
            study=study,
            trials=whole("trials", trials),
            storage=storage,
            name=name,
            dataset=dataset,
            data_root=None if data_root is None else Path(data_root),
            overrides=overrides,
            epochs=epochs,
            seed=seed,
            arch=arch,
            baselines=baselines,
            from_study=from_study,
            only=None if only is None else Part(only),
            replicates=whole("replicates", replicates),
            placement=placement,
            timeout_s=timeout_s,
            create_only=create_only,
            snapshots=snapshots,
        ),
        on_progress,
    )


def run_search(request: SearchRequest, on_progress: OnProgress = ignore) -> SearchResult:
    """Run `request` and return its result: the last part's, with all `parts`, if it has several."""
    file, request = resolve(request)
    parts = choose_parts(file, request.only, request.trials, request.replicates)
    if request.from_study is not None and (parts or file.search.sampler in ("grid", "baselines")):
        raise UsageError("--from-study goes with a search; a grid and baselines are fixed points")
    n_trials = request.trials or file.search.trials or 0
    if not n_trials and not parts:
        raise UsageError(f"--trials is missing; the study file {file.name} sets no search.trials")
    name = study_name(request, file)
    if not parts:
        return _Run(request, file, name, n_trials, on_progress).run()
    deadline = None if request.timeout_s is None else time.monotonic() + request.timeout_s
    results: list[SearchResult] = []
    for part in parts:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        run = _Run(replace(request, timeout_s=left), file, name, n_trials, on_progress, part)
        results.append(run.run())
    return replace(results[-1], parts=tuple(results))


class _Run:
    """One search, or one part of a study."""

    def __init__(
        self,
        request: SearchRequest,
        file: StudyFile,
        name: str,
        n_trials: int,
        on_progress: OnProgress,
        part: Part | None = None,
    ) -> None:
        self.request, self.on_progress, self.part = request, on_progress, part
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
        fingerprint = load_dataset(
            request.dataset or registry.DEFAULT, request.data_root
        ).fingerprint
        check_points(self.file, fingerprint.info)
        storage = open_storage(storage_url(request.storage), create=True)
        study = self._create(storage, fingerprint)
        if request.create_only:
            return self._end(storage, study, in_time=False, created_only=True)
        self._announce(storage, study, fingerprint, slots)
        try:
            in_time = self._train(storage, study, slots)
        except BloodsearchError as error:
            try:
                self._end(storage, study, in_time=False)
            except Exception as unreachable:
                if not (is_outage(unreachable) or isinstance(error, LostStudyError)):
                    raise
            raise error
        result = self._end(storage, study, in_time=in_time)
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
        if (source := self.request.from_study) is not None:
            n_queued = warm_start(storage, study, source)
            text = f"{n_queued} points of {source} are tried early"
            self._notice(text if n_queued else f"the points of {source} were queued before")
        self._limit_budget(storage, study)
        study.set_user_attr("n_trials", self.n_trials)
        return study

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
        if n := idle_cores(slots):
            cores = "1 CPU core is idle" if n == 1 else f"{n} CPU cores are idle"
            self._notice(f"{cores}; --workers auto uses all cores")
        waiting = study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        names = [b for trial in waiting if (b := trial_record(trial).baseline)]
        if names and self.part is None:
            self._notice(
                f"{len(names)} of the next trials are the study's baselines ({', '.join(names)}), trained "
                "for their own number of epochs; they count towards --trials, and --no-baselines "
                "searches without them"
            )

    def _train(self, storage: Storage, study: optuna.Study, slots: list[Slot]) -> bool:
        counts = Leases(storage, study).counts()
        n_done = counts[TrialState.COMPLETE] + counts[TrialState.PRUNED]
        if n_done >= self.n_trials:
            self._notice(f"{n_done} trials are finished already; a larger --trials adds more")
            return True
        return run_workers(
            storage,
            study,
            self.n_trials,
            slots,
            data_root=self.request.data_root,
            on_progress=self.on_progress,
            timeout_s=self.request.timeout_s,
            owns_process=self.request.owns_process,
            snapshots=self.request.snapshots,
        )

    def _end(
        self, storage: Storage, study: optuna.Study, *, in_time: bool, created_only: bool = False
    ) -> SearchResult:
        result = SearchResult.of(
            summarize(storage, study),
            elapsed_seconds=time.monotonic() - self.started,
            in_time=in_time,
            created_only=created_only,
            part=None if self.part is None else self.part.value,
        )
        self.on_progress(SearchEnded(result))
        return result

    def _notice(self, text: str) -> None:
        self.on_progress(Notice(text))
