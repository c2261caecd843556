"""What a final evaluation is going to train, and how long that takes: told before it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial

from ..evaluation.finalists import candidates
from ..evaluation.ladder import n_entrants
from ..evaluation.selection import choose_winner
from ..evaluation.stages import Candidate, Stage, ladder_stages, race_stages
from ..records import TrialRecord, trial_record
from ..study import info
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

    The times follow from those of the search's epochs. What was trained before an interruption counts again.
    """
    stored_info = info(stored.study)
    file, data = stored_info.study_file, stored_info.dataset
    n_workers = len(request.placement.slots(file.training.threads))
    whole = data.whole_share(stored_info.n_folds)
    known = [
        Candidate(record.family or "", seconds, seconds * whole, record.baseline)
        for trial in entrants(stored, request)
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
    return shown_stages(stages, n_workers)


def shown_stages(stages: list[Stage], n_workers: int) -> list[str]:
    """Return one line per stage, the test, and the sum of the times."""
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
