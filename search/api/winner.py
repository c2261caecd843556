"""Choose the winner of a search on validation and train its replicates. Opens nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial

from ..evaluation.averaging import PLAIN, Averaging
from ..evaluation.final import Prepared, prepare
from ..evaluation.finalists import Raced, race
from ..evaluation.ladder import climb
from .events import Notice, OnProgress, RaceEnded, ignore
from .final_stages import REPLICATES, ROUNDS, climbs, entrants
from .placement import AUTO, Placement
from .study import StoredStudy
from .training import train_queued

Prefer = Literal["best", "small", "fast"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalRequest:
    """A final evaluation, as `final_eval` is asked for it."""

    trial: int | None = None
    """The trial to evaluate; None: the winner of the second stage."""
    replicates: int = REPLICATES
    finalists: int | None = None
    """Trials that are trained again with fresh seeds before one is chosen; 1 skips this stage. None: as the
    study's ladder says, or 8 without one."""
    rounds: int | None = None
    """The largest number of fresh seeds per finalist; None: as `finalists`."""
    prefer: Prefer = "best"
    max_params: int | None = None
    max_latency_ms: float | None = None
    averaging: Averaging = PLAIN
    train_val: bool = False
    force: bool = False
    unfinished: bool = False
    """Evaluate although workers still train the search."""
    out: Path | None = None
    data_root: Path | None = None
    placement: Placement = AUTO
    owns_process: bool = False
    """True in a command: a signal may end the process when the storage hangs."""
    snapshots: bool = False
    """Whether a Snapshot is an event, too, about once a second."""
    deadline: float | None = None
    """When the time is up, by time.monotonic()."""


class TimeUp(Exception):
    """The deadline ended the trainings; the same request resumes them."""


def train_winner(
    stored: StoredStudy, request: FinalRequest, on_progress: OnProgress = ignore
) -> tuple[Prepared, dict[str, Any] | None]:
    """Choose the winner and train its replicates; return them and the stage that chose. Opens nothing.

    Raises TimeUp when the request's deadline has passed.
    """
    winner, selection = choose(stored, request, on_progress)
    prepared = prepare(stored.storage, stored.study, trial=winner, n_replicates=request.replicates)
    value = prepared.winner.value
    on_progress(
        Notice(
            f"retraining trial {winner} (search value {value:.4f}) "
            f"with {request.replicates} seeds as study {prepared.study.study_name}"
        )
    )
    train_part(stored, prepared.study, request, on_progress)
    return prepared, selection


def choose(
    stored: StoredStudy, request: FinalRequest, on_progress: OnProgress = ignore
) -> tuple[int, dict[str, Any] | None]:
    """Return the winner's number and the stage that chose it, None without one; it trains what that takes."""
    if request.trial is not None:
        return request.trial, None
    study, trials = stored.study, entrants(stored, request)
    if climbs(stored, request):
        raced = climb(
            stored.storage,
            study,
            trials,
            n_replicates=request.replicates,
            prefer=request.prefer,
            train=lambda arena, noun: train_part(stored, arena, request, on_progress, noun=noun),
        )
        on_progress(RaceEnded(raced.as_dict()))
    elif len(trials) == 1:
        return trials[0].number, None
    else:
        raced = _race(stored, trials, request, on_progress)
    return raced.winner, raced.as_dict()


def _race(
    stored: StoredStudy, trials: list[FrozenTrial], request: FinalRequest, on_progress: OnProgress
) -> Raced:
    """Train the search's best trials with fresh seeds and return the race with its winner."""
    on_progress(Notice(f"{len(trials)} finalists are trained again with fresh seeds"))
    raced = race(
        stored.storage,
        stored.study,
        trials,
        rounds=request.rounds or ROUNDS,
        prefer=request.prefer,
        train=lambda arena: train_part(stored, arena, request, on_progress, noun="finalist"),
    )
    on_progress(RaceEnded(raced.as_dict()))
    return raced


def train_part(
    stored: StoredStudy,
    study: optuna.Study,
    request: FinalRequest,
    on_progress: OnProgress,
    noun: str = "replicate",
) -> None:
    """Train what is queued in `study`. Raises TimeUp."""
    deadline = request.deadline
    in_time = train_queued(
        stored.storage,
        study,
        request.placement,
        data_root=request.data_root,
        on_progress=on_progress,
        noun=noun,
        owns_process=request.owns_process,
        snapshots=request.snapshots,
        timeout_s=None if deadline is None else max(0.0, deadline - time.monotonic()),
    )
    if not in_time:
        raise TimeUp
