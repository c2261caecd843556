"""What a final evaluation is going to train, and how long that takes: told before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial, TrialState

from ..evaluation.finalists import candidates
from ..evaluation.ladder import n_entrants, rung_rows
from ..evaluation.selection import choose_winner, replicates_home
from ..evaluation.stages import Candidate, Stage, ladder_stages, race_stages
from ..records import TrialRecord, study_record, trial_record
from ..study import info
from ..study_names import finalists_name
from ..text import duration
from .study import StoredStudy

if TYPE_CHECKING:
    from .winner import FinalRequest

FINALISTS, ROUNDS = 8, 5
"""Of a second stage without a ladder."""
REPLICATES = 5
"""Final trainings of the winner."""


def climbs(stored: StoredStudy, request: FinalRequest) -> bool:
    """Return whether the study's ladder chooses the winner."""
    has_ladder = info(stored.study).study_file.ladder is not None
    return has_ladder and request.finalists is None and request.rounds is None


def entrants(stored: StoredStudy, request: FinalRequest) -> list[FrozenTrial]:
    """Return the trials among which the winner is chosen, best first."""
    study = stored.study
    if request.trial is not None:
        return [choose_winner(study, request.trial)]
    file = info(study).study_file
    does_climb = climbs(stored, request)
    return candidates(
        study,
        n_entrants(file) if does_climb else request.finalists or FINALISTS,
        max_params=request.max_params,
        max_latency_ms=request.max_latency_ms,
        keep=file.ladder.keep if does_climb and file.ladder is not None else (),
    )


def stage_lines(stored: StoredStudy, request: FinalRequest) -> list[str]:
    """Return the stages of a final evaluation and the time that each takes, one line each.

    The times follow from those of the search's epochs. What has been trained already is left out.
    """
    stored_info = info(stored.study)
    file, data = stored_info.study_file, stored_info.dataset
    n_workers = len(request.placement.slots(file.training.threads))
    whole = data.whole_share(stored_info.n_folds)
    trials = entrants(stored, request)
    known = [
        Candidate(record.family or "", seconds, seconds * whole, record.baseline)
        for trial in trials
        if (seconds := _epoch_s(record := trial_record(trial)))
    ]
    if not known:
        return []  # trials of another program: nothing is known of their time
    if request.trial is None and climbs(stored, request):
        stages = ladder_stages(file, known, n_replicates=request.replicates, n_workers=n_workers)
    else:
        stages = race_stages(
            file,
            known,
            rounds=request.rounds or ROUNDS,
            n_replicates=request.replicates,
            n_workers=n_workers,
        )
    among = {trial.number for trial in trials}
    return shown_stages(_left(stored, request, stages, among), n_workers)


def _left(
    stored: StoredStudy, request: FinalRequest, stages: list[Stage], among: set[int]
) -> list[Stage]:
    """Return the stages without the trainings that have ended, and without those that are over.

    `among` are the trials among which the winner is chosen. A search that was continued may have others than
    those that were trained already.
    """
    selection, winner = study_record(stored.study).selection, request.trial
    if winner is None and climbs(stored, request):
        n_done = _n_climbed(stored, stages, among)
    else:
        has_raced = selection is not None and request.finalists is None and request.rounds is None
        raced = _of(stored, finalists_name(stored.name))
        has_raced = has_raced and (not raced or among <= set(map(_repeated, raced)))
        if winner is None and selection is not None and has_raced:
            winner = selection.winner
        n_final = 0 if winner is None else _n_replicates(stored, winner)
        n_done = [stage.n_trainings if has_raced else 0 for stage in stages[:-1]] + [n_final]
    left = [stage.left(n) for stage, n in zip(stages, n_done, strict=True)]
    return [stage for stage in left if stage.n_trainings]


def _n_climbed(stored: StoredStudy, stages: list[Stage], among: set[int]) -> list[int]:
    """Return how many trainings of each rung have ended, of those that go on from the trials `among`."""
    rows = rung_rows(stored.storage, stored.study)[1:]
    n_done, is_known = [0] * len(stages), True  # a study that is no search has no rungs
    for i, (row, stage) in enumerate(zip(rows, stages, strict=False)):
        # above a rung that is not complete, other trials may go on than before
        if is_known:
            ended = [t for t in _of(stored, row["study"]) if _repeated(t) in among]
            n_done[i] = sum(map(_counts, ended))
            is_known = len(set(map(_repeated, ended))) >= stage.n_trainings
    return n_done


def _n_replicates(stored: StoredStudy, winner: int) -> int:
    """Return how many final trainings of a trial have ended."""
    home = replicates_home(stored.storage, stored.name, winner)
    return sum(_counts(t) for t in _of(stored, home) if _repeated(t) in (None, winner))


def _of(stored: StoredStudy, name: str) -> list[FrozenTrial]:
    """Return the trainings of a part of the study that have ended."""
    if name not in optuna.get_all_study_names(stored.storage.optuna):
        return []
    part = optuna.load_study(study_name=name, storage=stored.storage.optuna)
    return [trial for trial in part.get_trials(deepcopy=False) if trial.state.is_finished()]


def _counts(trial: FrozenTrial) -> bool:
    return trial.state in (TrialState.COMPLETE, TrialState.PRUNED)


def _repeated(trial: FrozenTrial) -> int | None:
    """Return the number of the search's trial that a training repeats."""
    return trial_record(trial).replicate_of


def shown_stages(stages: list[Stage], n_workers: int) -> list[str]:
    """Return one line per stage, the test, and the sum of the times."""
    if not stages:
        return [
            "the winner's models are trained; the test split is opened once and they predict it"
        ]
    total = sum(stage.seconds for stage in stages)
    workers = f"{n_workers} worker{'s' * (n_workers > 1)}"
    return [
        *numbered(stages),
        f"{len(stages) + 1}. the test split is opened once and the winner's models predict it",
        f"about {duration(total)} in all with {workers}",
    ]


def numbered(stages: list[Stage]) -> list[str]:
    """Return one line per stage: its number, its trainings and its time."""
    return [
        f"{number}. {stage}, about {duration(stage.seconds)}"
        for number, stage in enumerate(stages, start=1)
    ]


def _epoch_s(record: TrialRecord) -> float | None:
    seconds = record.train_seconds or record.seconds
    return seconds / record.epochs if seconds and record.epochs else None
