"""From `--minutes` to a study of plain numbers: how wide, how long and how many, at the speed measured here.

The time is shared out among the search, the rungs of its ladder and the final trainings. The widest network
is chosen whose final trainings are still long enough. Where trials are judged by folds there is no ladder:
the study keeps its networks and lengths, and gets as many trials as leave time for its second stage. What
comes out is an ordinary study: it is resumed with the same numbers on any machine, and no clock decides
anything in it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...models.config import FIRST_SHAPE, Shape
from ...studies import MAX_TRIALS, Ladder, StudyFile
from ..errors import UsageError
from ..evaluation.ladder import n_trainings
from ..evaluation.stages import Candidate, Stage, race_stages
from ..training.config import TrialConfig
from .chosen import judged_by_folds
from .family_costs import FamilyCost, Point, draw, family_costs, timed_points
from .final_lengths import MLP, Width, check_lengths, last_rung, waves
from .final_stages import FINALISTS, REPLICATES, ROUNDS
from .fitted_models import (
    fitted_recipes,
    keeps_limits,
    searched_families,
    timed_models,
    within_limits,
)
from .study import study_file
from .timing import PRUNED_SHARE, pruned_share

RUNG_SHARE, FINAL_SHARE, RESERVE = 0.15, 0.6, 0.05
"""Shares of the time. The search gets the rest; the reserve is for starting and timing."""
ENTRANTS_A_FINALIST = 2
"""A rung that fewer trials enter chooses too little for what it costs, and is left out."""
MIN_TRIALS, MAX_RUNG_TRIALS = 16, 16
MAX_MINUTES = 1_000_000
N_JUDGED = 50
"""Random points whose latency is measured: that of a CNN takes up to a second."""

Seconds = Callable[[Sequence[TrialConfig]], list[float]]
"""Returns the seconds of an epoch of each configuration, with all workers busy."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is trained in the given time."""

    minutes: float
    n_workers: int
    file: StudyFile
    """The study, in plain numbers."""
    seconds: dict[str, float]
    """Measured seconds of an epoch of the models that were chosen, by name."""
    rungs: list[tuple[str, int, dict[str, int], float]]
    """Name, number of trainings, epochs by family, and expected minutes of each stage."""

    def lines(self) -> list[str]:
        """Return the plan as text: the speed measured here, then a line for each stage."""
        speeds = ", ".join(f"{seconds:.1f} s ({name})" for name, seconds in self.seconds.items())
        workers = "1 worker" if self.n_workers == 1 else f"{self.n_workers} workers"
        lines = [f"{self.minutes:g} minutes on {workers}; an epoch takes {speeds}"]
        for name, n, epochs, minutes in self.rungs:
            length = ", ".join(f"{n_epochs} ({family})" for family, n_epochs in epochs.items())
            lines.append(f"  {name}: {n} trainings of {length} epochs, about {minutes:.0f} min")
        return lines


def fit(
    file: StudyFile,
    minutes: float,
    n_workers: int,
    seconds: Seconds,
    shape: Shape = FIRST_SHAPE,
    whole: float = 1.0,
) -> Plan:
    """Return the study that uses `minutes` on this machine.

    Args:
        file: The study to fit.
        minutes: The time, final trainings included.
        n_workers: Trainings at the same time.
        seconds: Measures an epoch of a trial, of all folds together.
        shape: The images' shape.
        whole: An epoch on the training split as a share of a trial's epoch.

    Raises UsageError for a study that cannot be fitted, or when the time is too short.
    """
    if judged_by_folds(file):
        return _fit_folded(file, minutes, n_workers, seconds, shape, whole)
    if file.minutes is None or file.search.sampler in ("grid", "baselines"):
        raise UsageError(
            f"--minutes needs a study with a table [minutes], which {file.name} lacks; use --trials N"
        )
    file, models = within_limits(file, timed_models(file, shape), shape)
    check_lengths(file, searched_families(file))
    fastest = min(models, key=lambda width: width or 0)
    short = timed_models(file.model_copy(update={"ladder": None}), shape)[fastest]
    # rotations take as long whatever the network is, so one shows what trials without them save
    also = [] if short == models[fastest] else [short]
    measured = seconds([*models.values(), *also])
    cost = dict(zip(models, measured, strict=False))
    more_s = cost[fastest] - measured[-1] if also else 0.0
    return _fit_ladder(file, minutes, n_workers, cost, more_s, shape)


def _fit_ladder(
    file: StudyFile,
    minutes: float,
    n_workers: int,
    cost: Mapping[Width, float],
    more_s: float,
    shape: Shape,
) -> Plan:
    """Return the study with the widest networks, the longest final trainings and the trials for the rest.

    An epoch of a trial takes `more_s` seconds less than `cost`, which is that of longer trainings.
    """
    families, budget = searched_families(file), 60 * minutes
    last = last_rung(file, cost, FINAL_SHARE * budget, n_workers)
    if last is None:
        fastest = min(cost, key=lambda width: (width is MLP, cost[width]))
        raise UsageError(
            f"--minutes {minutes:g} is too short for a ladder here, where an epoch takes "
            f"{cost[fastest]:.1f} s ({_name(fastest)}); give more minutes, or use --trials N"
        )
    n_finalists, width, final = last
    searched = {family: file.training.epochs_of(family) for family in families}
    middle = {family: round(math.sqrt(searched[family] * final[family])) for family in families}

    def longest_s(lengths: Mapping[str, int]) -> float:
        """Return the seconds of one training of the family that takes longest."""
        return max(lengths[f] * cost[width if f == "cnn" else MLP] for f in families)

    final_s = waves(n_finalists, n_workers) * longest_s(final)
    tail_s = _tail_s(longest_s(searched), n_workers)
    left_s = (1 - RESERVE) * budget - final_s - tail_s
    trial_s = _trial_s(searched, width, {w: epoch_s - more_s for w, epoch_s in cost.items()})
    n_middle = _n_middle(n_finalists, n_workers, RUNG_SHARE * budget, longest_s(middle))
    middle_s = math.ceil(n_middle / n_workers) * longest_s(middle)
    n_trials = _n_trials(file, (left_s - middle_s) * n_workers, trial_s)
    if n_trials < n_middle:  # too few for them to have been the best of many
        n_middle, middle_s = 0, 0.0
        n_trials = _n_trials(file, left_s * n_workers, trial_s)
    if n_trials < MIN_TRIALS:
        raise UsageError(
            f"--minutes {minutes:g} is too short for {MIN_TRIALS} trials and a ladder here, where a trial "
            f"takes {trial_s:.1f} s; give more minutes, or use --trials N"
        )
    search_s = n_trials * pruned_share(file, n_trials) * trial_s / n_workers + tail_s
    rungs = [{"epochs": middle, "trials": n_middle}] if n_middle else []
    n_final = n_trainings(n_finalists, REPLICATES)
    return Plan(
        minutes,
        n_workers,
        _resolved(file, width, final, n_trials, {"rungs": rungs, "finalists": n_finalists}, shape),
        {_name(model): cost[model] for model in (width, MLP) if model in cost},
        [
            ("search", n_trials, searched, search_s / 60),
            *([("rung 2", n_middle, middle, middle_s / 60)] if n_middle else []),
            ("final trainings", n_final, final, final_s / 60),
        ],
    )


def _n_middle(n_finalists: int, n_workers: int, seconds: float, training_s: float) -> int:
    """Return how many trials the rung between search and final trainings takes; 0: there is none."""
    fitting = n_workers * math.floor(seconds / training_s)
    return min(MAX_RUNG_TRIALS, fitting) if fitting >= ENTRANTS_A_FINALIST * n_finalists else 0


def _n_trials(file: StudyFile, seconds: float, trial_s: float) -> int:
    """Return how many trials `seconds` of one worker are enough for."""
    n_pruned = math.floor(seconds / (PRUNED_SHARE * trial_s))
    is_pruned = pruned_share(file, n_pruned) == PRUNED_SHARE
    return min(MAX_TRIALS, n_pruned if is_pruned else math.floor(seconds / trial_s))


def _fit_folded(
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
    tail_s = _tail_s(max(f.epochs * f.epoch_s_range[1] for f in families), n_workers)
    left_s = (1 - RESERVE) * 60 * minutes - stages_s - tail_s
    n_trials = _n_trials(file, left_s * n_workers, trial_s)
    if n_trials < MIN_TRIALS:
        fewest_s = MIN_TRIALS * pruned_share(file, MIN_TRIALS) * trial_s / n_workers
        needed = (stages_s + tail_s + fewest_s) / (1 - RESERVE) / 60
        raise UsageError(
            f"--minutes {minutes:g} is too short for {MIN_TRIALS} trials and the second stage here; give "
            f"{math.ceil(needed)} minutes, or use --trials N"
        )
    changes = {"search.trials": n_trials, "baselines": []}
    fitted = study_file(file.model_copy(update={"minutes": None, "ladder": None}), changes)
    epochs = {f.family: f.epochs for f in families}
    final = {f.family: file.training.final_epochs_of(f.family) for f in families}
    search_s = n_trials * pruned_share(file, n_trials) * trial_s / n_workers + tail_s
    return Plan(
        minutes,
        n_workers,
        fitted,
        {f.family: f.epoch_s for f in families},
        [("search", n_trials, epochs, search_s / 60)]
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


def _tail_s(longest_s: float, n_workers: int) -> float:
    """Return how long a search may last beyond its equal share of the work for each worker.

    Its last trial may be its longest and run alone (Graham 1969).
    """
    return (1 - 1 / n_workers) * longest_s


def _second_stage(
    file: StudyFile, cost: FamilyCost, whole: float, n_workers: int
) -> Sequence[Stage]:
    candidates = [Candidate(cost.family, cost.epoch_s, whole * cost.epoch_s)] * FINALISTS
    return race_stages(
        file, candidates, rounds=ROUNDS, n_replicates=REPLICATES, n_workers=n_workers
    )


def _resolved(
    file: StudyFile,
    width: Width,
    final: dict[str, int],
    n_trials: int,
    ladder: dict[str, Any],
    shape: Shape,
) -> StudyFile:
    """Return the study in plain numbers."""
    baselines = fitted_recipes(file, width, shape)
    family = "mlp" if width is MLP else "cnn"
    recipes = [b["name"] for b in baselines if b["params"]["arch"] == family]
    kept = recipes[:1] if ladder["finalists"] > 1 else []  # the search has at least one place
    space = file.model_dump(mode="json")["minutes"]["space"]
    changes: dict[str, Any] = {f"space.{name}": entry for name, entry in space.items()}
    if width is not MLP:
        changes["space.cnn_width"] = sorted({_narrow(width), width})
    changes |= {
        "training.final_epochs": final,
        "training.final_patience": 0,
        "search.trials": n_trials,
        "baselines": baselines,  # the study's own are of 40 epochs, which the time is not meant for
        "ladder": ladder | {"keep": kept, "params": (file.ladder or Ladder()).params},
    }
    return study_file(file.model_copy(update={"minutes": None}), changes)


def _name(width: Width) -> str:
    """Return what a plan calls a model."""
    return "MLP" if width is MLP else f"CNN of {width} filters"


def _trial_s(searched: Mapping[str, int], width: Width, cost: Mapping[Width, float]) -> float:
    """Return the seconds of a mean trial, where each family has as many."""
    return statistics.fmean(
        epochs * _trial_epoch_s(family, width, cost) for family, epochs in searched.items()
    )


def _trial_epoch_s(family: str, width: Width, cost: Mapping[Width, float]) -> float:
    """Return the mean seconds of a trial's epoch: half of the CNNs are narrow."""
    if family == "mlp" or width is MLP:
        return cost[MLP]
    narrow = _narrow(width)
    return (cost[width] + cost.get(narrow, cost[width] * narrow / width)) / 2


def _narrow(width: int) -> int:
    """Return the filters of the narrower CNNs that are searched beside those of `width`, none below eight."""
    return min(width, max(8, width // 2))
