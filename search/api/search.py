"""Run or resume a search."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ...studies import Overrides, StudyFile
from ..data import registry
from ..data.load import load_dataset
from ..data.places import given_as
from ..errors import RefusedError, UsageError
from ..study import StudyInfo
from ..suggest import command
from ..training.config import TrialConfig
from .arguments import one_of, whole
from .chosen import judged_by_folds, keep_chosen
from .events import Notice, OnProgress, ignore
from .minutes import MAX_MINUTES, fit
from .one_search import Run, check_groups
from .parts import Part, choose_parts
from .placement import AUTO, Placement
from .request import SearchRequest, resolve, stored_study, study_name
from .results import SearchResult
from .study import StudySource, load_study
from .timing import epoch_seconds
from .winner import FinalRequest, TimeUp, train_winner


def optimize(
    study: StudySource | None = None,
    *,
    trials: int | None = None,
    minutes: float | None = None,
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
        minutes: Instead of `trials`: fit widths, lengths and numbers to so much time on this machine, and
            train the winner too, after the ladder or the second stage. A stored study keeps its numbers.
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
        timeout_s: Seconds after which all training stops; the same call resumes it.
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
            minutes=minutes,
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
    if request.minutes is not None:
        return _run_minutes(request, on_progress)
    file, request = resolve(request)
    parts = choose_parts(file, request.only, request.trials, request.replicates)
    if request.from_study is not None and (parts or file.search.sampler in ("grid", "baselines")):
        raise UsageError("--from-study goes with a search; a grid and baselines are fixed points")
    n_trials = request.trials or file.search.trials or 0
    if not n_trials and not parts:
        raise UsageError(f"--trials is missing; the study file {file.name} sets no search.trials")
    name = study_name(request, file)
    if not parts:
        return Run(request, file, name, n_trials, on_progress).run()
    deadline = _deadline(request)
    results: list[SearchResult] = []
    for part in parts:
        run = Run(_with_time_left(request, deadline), file, name, n_trials, on_progress, part)
        results.append(run.run())
    return replace(results[-1], parts=tuple(results))


def _deadline(request: SearchRequest) -> float | None:
    return None if request.timeout_s is None else time.monotonic() + request.timeout_s


def _with_time_left(request: SearchRequest, deadline: float | None) -> SearchRequest:
    left = None if deadline is None else max(0.0, deadline - time.monotonic())
    return replace(request, timeout_s=left)


def _run_minutes(request: SearchRequest, on_progress: OnProgress) -> SearchResult:
    """Fit the study to the machine, or take the stored one, search, and train the winner, too."""
    minutes, deadline = _checked_minutes(request), _deadline(request)
    file, request = resolve(request)
    file = keep_chosen(file, request.overrides)
    name = study_name(request, file)
    stored, fitted_from = stored_study(request, name), None
    if stored is None:
        fitted_from = file.fitted_hash()
        file = _fitted(file, request, minutes, on_progress)
        n_trials = file.search.trials or 0
    else:
        _check_resumes(request, file, stored)
        n_trials = stored.n_trials or 0
        numbers = f"the numbers that it was made with, {n_trials} trials among them"
        on_progress(Notice(f"study {name} keeps {numbers}; another --name is fitted anew"))
        file = stored.study_file
    left = _with_time_left(request, deadline)
    result = Run(left, file, name, n_trials, on_progress, fitted_from=fitted_from).run()
    if not result.in_time or (file.ladder is None and not file.search.folds):
        return result
    final = FinalRequest(
        max_params=file.search.max_params,
        max_latency_ms=file.search.max_latency_ms,
        data_root=request.data_root,
        placement=request.placement,
        owns_process=request.owns_process,
        snapshots=request.snapshots,
        deadline=deadline,
    )
    try:
        train_winner(load_study(name=name, storage=request.storage), final, on_progress)
    except TimeUp:
        on_progress(
            Notice(
                "the time was up before the last final training; run the same command again to resume"
            )
        )
        return replace(result, in_time=False)
    return result


def _checked_minutes(request: SearchRequest) -> float:
    """Return the minutes. Raises UsageError for a wrong number, and for options that do not go with it."""
    minutes = request.minutes or 0.0
    if not 0 < minutes <= MAX_MINUTES:
        raise UsageError(f"--minutes {minutes:g}: give a number above 0, at most {MAX_MINUTES}")
    if request.placement.cluster is not None:
        raise UsageError("--minutes goes without --cluster: it measures this machine")
    if any(option is not None for option in (request.trials, request.only, request.replicates)):
        raise UsageError(
            "--minutes goes without --trials, --only and --replicates: it finds the numbers itself"
        )
    return minutes


def _check_resumes(request: SearchRequest, file: StudyFile, stored: StudyInfo) -> None:
    """Raise RefusedError unless `file` is what the stored study was fitted from, or is the stored study.

    A study that version 0.1 made does not say what it was fitted from, and is resumed.
    """
    same = stored.fitted_from in (None, file.fitted_hash()) or file == stored.study_file
    was_fitted = stored.fitted_from is not None or _may_be_fitted(stored)
    if same and was_fitted:
        return
    opened = load_study(name=stored.name, storage=request.storage)
    shown = opened.storage.shown
    opened.close()
    where = f"the study {stored.name!r} in {shown}"
    resume = ["optimize", "--name", stored.name, "--storage", shown]
    if not was_fitted:
        raise RefusedError(
            f"{where} was made with --trials, so it is fitted to no time. Choose another --name, or "
            f"resume it as it is: {command(*resume, '--trials', stored.n_trials or 'N')}"
        )
    raise RefusedError(
        f"{where} was fitted from other settings than those of this command. Choose another --name, or "
        f"resume it as it is: {command(*resume, '--minutes', f'{request.minutes:g}')}"
    )


def _may_be_fitted(stored: StudyInfo) -> bool:
    """Return whether a study that does not say what it was fitted from can have been fitted."""
    file = stored.study_file
    has_second_stage = file.ladder is not None or judged_by_folds(file)
    fitted = file.minutes is None and file.search.trials is not None and has_second_stage
    return stored.kind != "search" or fitted


def _fitted(
    file: StudyFile, request: SearchRequest, minutes: float, on_progress: OnProgress
) -> StudyFile:
    """Return `file` in the plain numbers that use `minutes` on this machine."""
    slots = request.placement.slots(file.training.threads)
    named = request.dataset or registry.DEFAULT
    data = load_dataset(named, request.data_root)  # first: without images no speed can be measured
    check_groups(file, data)
    n_folds = file.search.folds or 0

    def seconds(configs: Sequence[TrialConfig]) -> list[float]:
        return epoch_seconds(
            configs,
            slots,
            dataset=given_as(named),
            data_root=request.data_root,
            n_folds=n_folds,
        )

    whole = data.info.whole_share(n_folds)
    plan = fit(file, minutes, len(slots), seconds, data.info.shape, whole)
    for line in plan.lines():  # a message is one line
        on_progress(Notice(line))
    return plan.file
