"""Choose the winner on validation, retrain it with several seeds, open the test split once."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

from optuna.trial import TrialState

from ..dashboard.publish import publish
from ..dashboard.study_files import final_files
from ..errors import RefusedError
from ..evaluation.averaging import PLAIN, Averaging
from ..evaluation.baselines import baselines_again, evaluate_baselines
from ..evaluation.final import check_opening, check_trained, evaluate, stored_again
from ..evaluation.folder import check_writable
from ..evaluation.refits import refit_study
from ..evaluation.selection import choose_winner, replicates
from ..results import FinalResult
from ..study import info
from ..suggest import command
from ..workers.leases import Leases
from .arguments import one_of, required, whole
from .events import Notice, OnProgress, ignore
from .final_stages import stage_lines
from .placement import AUTO, Placement
from .study import StoredStudy, load_part, load_study
from .winner import FinalRequest, Prefer, train_part, train_winner


def final_eval(
    study: str | Path | None = None,
    *,
    storage: str | None = None,
    name: str | None = None,
    trial: int | None = None,
    replicates: int = 5,
    finalists: int | None = None,
    rounds: int | None = None,
    prefer: Prefer = "best",
    max_params: int | None = None,
    max_latency_ms: float | None = None,
    averaging: Averaging = PLAIN,
    train_val: bool = False,
    force: bool = False,
    unfinished: bool = False,
    out: str | Path | None = None,
    data_root: str | Path | None = None,
    placement: Placement = AUTO,
    snapshots: bool = False,
    on_progress: OnProgress = ignore,
) -> FinalResult:
    """Choose the winner on validation, retrain it with several seeds, open the test split once.

    Args:
        study: A shipped study's name, a study file's path, or a study's name in the storage.
        storage: The storage's URL; default $BLOODSEARCH_STORAGE, else a file in the current folder.
        name: The study's name in the storage; default: the study file's.
        trial: The trial to evaluate; None: the winner of the second stage.
        replicates: Trainings of the winner, each with its own seed.
        finalists: Trials that are trained again with fresh seeds, at the search's own length, before one is
            chosen; 1 skips this. None: the study's ladder, or 8 for a study without one.
        rounds: The largest number of fresh seeds per finalist; None: the study's ladder, or 5.
        prefer: "best", or the "small"est or "fast"est within a standard error of the best mean.
        max_params: Choose among models with at most this many weights.
        max_latency_ms: Choose among models that take at most this many milliseconds per image.
        averaging: Averages that are scored beside the plain figure.
        train_val: Also train the winner on the training and validation split together.
        force: Open the test split again; the number of openings is part of every later result.
        unfinished: Evaluate although workers still train the search.
        out: The folder for result.json and the weights; default final/NAME.
        data_root: The folder with the data; default $BLOODSEARCH_DATA, else ~/.medmnist.
        placement: Devices and number of workers.
        snapshots: Make a Snapshot of what trains an event, too, about once a second.
        on_progress: Receives one event at a time.

    Raises RefusedError if the test split was opened for this study before and `force` is False, or if
    workers still train the search and `unfinished` is False; UsageError for arguments out of range.
    """
    one_of("prefer", prefer, get_args(Prefer))
    request = FinalRequest(
        trial=whole("trial", trial, 0),
        replicates=required("replicates", replicates),
        finalists=whole("finalists", finalists),
        rounds=whole("rounds", rounds),
        prefer=prefer,
        max_params=max_params,
        max_latency_ms=max_latency_ms,
        averaging=averaging,
        train_val=train_val,
        force=force,
        unfinished=unfinished,
        out=None if out is None else Path(out),
        data_root=None if data_root is None else Path(data_root),
        placement=placement,
        snapshots=snapshots,
    )
    stored = load_study(study, storage=storage, name=name, on_progress=on_progress)
    return FinalResult.read(evaluate_winner(stored, request, on_progress))


def evaluate_winner(
    stored: StoredStudy, request: FinalRequest, on_progress: OnProgress = ignore
) -> dict[str, Any]:
    """Run the whole final evaluation of a stored study and return result.json's dictionary."""
    storage, study = stored.storage, stored.study
    folder = request.out or Path("final") / stored.name
    if request.trial is not None and info(study).kind == "search":
        # first: a user must not pass --force for a trial that does not exist
        choose_winner(study, request.trial)
    if not request.force:
        again = stored_again(
            storage,
            study,
            trial=request.trial,
            n_replicates=request.replicates,
            out=folder,
            serves=lambda result: _serves(result, request),
        )
        if again is not None:
            on_progress(
                Notice(
                    f"the stored result of trial {again['trial']} is in {folder} and in the database; "
                    "nothing was opened"
                )
            )
            return again
    check_opening(storage, study, force=request.force)
    _check_finished(stored, request, on_progress)
    choose_winner(study, request.trial)  # before a folder is made
    check_writable(folder)
    for line in stage_lines(stored, request):
        on_progress(Notice(line))
    prepared, selection = train_winner(stored, request, on_progress)
    refits = None
    if (
        request.train_val
    ):  # a missing replicate ends it anyway, and may change how long refits train
        check_trained(prepared)
    if request.train_val and (
        plain := replicates(prepared.study, prepared.winner.number, prepared.seeds)
    ):
        refits = refit_study(storage, info(study), prepared.winner, plain, prepared.seeds)
        on_progress(
            Notice(
                f"training the winner on train and validation together as study {refits.study_name}; "
                "the validation scores of these trainings mean nothing"
            )
        )
        train_part(stored, refits, request, on_progress, noun="refit")
    result = evaluate(
        storage,
        study,
        prepared,
        data_root=request.data_root,
        out=folder,
        forced=request.force,
        averaging=request.averaging,
        refits=refits,
        selection=selection,
        asked=_asked(request),
    )
    publish(
        storage,
        study,
        files=final_files(result, info(study).dataset),
        on_message=lambda t: on_progress(Notice(t)),
    )
    return result


def _asked(request: FinalRequest) -> dict[str, Any]:
    """Return how the winner is to be chosen, without what is left to the defaults."""
    asked = {
        "finalists": request.finalists,
        "rounds": request.rounds,
        "prefer": None if request.prefer == "best" else request.prefer,
        "max_params": request.max_params,
        "max_latency_ms": request.max_latency_ms,
    }
    return {key: value for key, value in asked.items() if value is not None}


def _serves(result: dict[str, Any], request: FinalRequest) -> bool:
    """Return whether a stored result was chosen as `request` asks, and has all options that it asks for.

    A result of an earlier version says only which finalist was preferred.
    """
    asked = _asked(request)
    known_of_older = asked | {"prefer": (result.get("selection") or {}).get("prefer")}
    stored = result.get("asked", known_of_older)
    if any(stored.get(key) != value for key, value in asked.items()):
        return False
    options = " ".join(option["option"] for option in result.get("declared_options") or ())
    wanted = {
        "orientations": request.averaging.orientations,
        "ensemble": request.averaging.replicates,
        # where all refits diverged, there is no figure of them
        "train and validation": request.train_val and not result.get("diverged_refit_seeds"),
    }
    return all(word in options for word, is_wanted in wanted.items() if is_wanted)


def _check_finished(stored: StoredStudy, request: FinalRequest, on_progress: OnProgress) -> None:
    """Report a search that is not finished. Raises RefusedError while workers train it."""
    leases = Leases(stored.storage, stored.study)
    counts = leases.counts()
    n_done = counts[TrialState.COMPLETE] + counts[TrialState.PRUNED]
    n_trials = info(stored.study).n_trials or 0
    if n_done >= n_trials:
        return
    leases.reclaim()
    where = ["--name", stored.name, "--storage", stored.storage.shown]
    progress = f"the search has finished {n_done} of its {n_trials} trials"
    if (workers := leases.registry.workers()) and not request.unfinished:
        n = "1 worker trains" if len(workers) == 1 else f"{len(workers)} workers train"
        raise RefusedError(
            f"{progress} and {n} it now; wait, or stop them ({command('stop', *where)}), or pass "
            "--unfinished; nothing was opened"
        )
    on_progress(Notice(f"{progress}; to finish it first: {command('optimize', *where)}"))


def final_eval_baselines(
    study: str | Path | None = None,
    *,
    storage: str | None = None,
    name: str | None = None,
    force: bool = False,
    out: str | Path | None = None,
    data_root: str | Path | None = None,
    on_progress: OnProgress = ignore,
) -> dict[str, Any]:
    """Open the test split once for all replicates of all baselines, and return their scores.

    A stored result of the same replicates is written to a folder that has none, and nothing is opened.
    """
    stored = load_part(study, "baselines", storage=storage, name=name)
    folder = Path("final") / stored.name if out is None else Path(out)
    if not force:
        again = baselines_again(stored.storage, stored.study, folder)
        if again is not None:
            on_progress(Notice(f"the stored result is in {folder} again; nothing was opened"))
            return again
    return evaluate_baselines(
        stored.storage,
        stored.study,
        data_root=None if data_root is None else Path(data_root),
        out=folder,
        force=force,
    )
