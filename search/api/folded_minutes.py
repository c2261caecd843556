"""`--minutes` where trials are judged by folds: the number of trials that leaves time for the second stage.

There is no ladder: the study keeps its networks and lengths.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...models.config import Shape
from ...studies import StudyFile
from ..errors import UsageError
from ..evaluation.stages import Candidate, Stage, race_stages
from .family_costs import FamilyCost, Point, draw, family_costs, timed_points
from .final_stages import FINALISTS, REPLICATES, ROUNDS
from .fitted_models import keeps_limits
from .minutes_plan import MIN_TRIALS, RESERVE, Plan, Seconds, n_trials_in, search_s, tail_s
from .study import study_file

N_JUDGED = 50
"""Random points whose latency is measured: that of a CNN takes up to a second."""


def fit_folded(
    file: StudyFile, minutes: float, n_workers: int, seconds: Seconds, shape: Shape, whole: float
) -> Plan:
    """Return the study with as many trials as leave time for its second stage and its final trainings."""
    drawn, trained_share = _within_limits(file, draw(file, shape))
    timed = timed_points(drawn)
    families = family_costs(drawn, timed, seconds([point.config for point in timed]))
    stages = max(
        (_second_stage(file, family, whole, n_workers) for family in families),
        key=lambda stages: sum(stage.seconds for stage in stages),
    )
    stages_s = sum(stage.seconds for stage in stages)
    trial_s = trained_share * sum(f.share * f.trial_s for f in families)
    tail = tail_s(max(f.epochs * f.epoch_s_range[1] for f in families), n_workers)
    left_s = (1 - RESERVE) * 60 * minutes - stages_s - tail
    n_trials = n_trials_in(file, left_s * n_workers, trial_s)
    if n_trials < MIN_TRIALS:
        fewest_s = search_s(file, MIN_TRIALS, trial_s) / n_workers
        needed = (stages_s + tail + fewest_s) / (1 - RESERVE) / 60
        raise UsageError(
            f"--minutes {minutes:g} is too short for {MIN_TRIALS} trials and the second stage here; give "
            f"{math.ceil(needed)} minutes, or use --trials N"
        )
    changes = {"search.trials": n_trials, "baselines": []}
    fitted = study_file(file.model_copy(update={"minutes": None, "ladder": None}), changes)
    epochs = {f.family: f.epochs for f in families}
    final = {f.family: file.training.final_epochs_of(f.family) for f in families}
    searching_s = search_s(file, n_trials, trial_s) / n_workers + tail
    return Plan(
        minutes,
        n_workers,
        fitted,
        {f.family: f.epoch_s for f in families},
        [("search", n_trials, epochs, searching_s / 60)]
        + [
            (stage.name, stage.n_trainings, lengths, stage.seconds / 60)
            for stage, lengths in zip(stages, (epochs, final), strict=True)
        ],
    )


def _within_limits(file: StudyFile, drawn: Sequence[Point]) -> tuple[list[Point], float]:
    """Return the points that the study's limits leave, and the share of its trials that are trained.

    A larger model is drawn again. A slower one ends its trial, which counts, before its first epoch.
    """
    limit = file.search.max_params or math.inf
    left = [point for point in drawn if point.n_weights <= limit]
    share = 1.0
    if left and file.search.max_latency_ms is not None:
        judged = left[:N_JUDGED]
        left = [point for point in judged if keeps_limits(file, point.config)]
        if file.search.sampler == "random":  # TPE learns to leave them out
            share = len(left) / len(judged)
    if not left:
        raise UsageError(
            f"no model of study {file.name} is within --max-params and --max-latency; raise them"
        )
    return left, share


def _second_stage(
    file: StudyFile, cost: FamilyCost, whole: float, n_workers: int
) -> Sequence[Stage]:
    candidates = [Candidate(cost.family, cost.epoch_s, whole * cost.epoch_s)] * FINALISTS
    return race_stages(
        file, candidates, rounds=ROUNDS, n_replicates=REPLICATES, n_workers=n_workers
    )
