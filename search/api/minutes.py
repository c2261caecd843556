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
from collections.abc import Mapping
from typing import Any

from ...models.config import FIRST_SHAPE, Shape
from ...studies import Ladder, StudyFile
from ..errors import UsageError
from ..evaluation.ladder import n_trainings
from .chosen import judged_by_folds
from .final_lengths import MLP, Width, check_lengths, last_rung, waves
from .final_stages import REPLICATES
from .fitted_models import (
    fitted_recipes,
    searched_families,
    timed_models,
    within_limits,
)
from .folded_minutes import fit_folded
from .minutes_plan import MIN_TRIALS, RESERVE, Plan, Seconds, n_trials_in, search_s, tail_s
from .study import study_file

RUNG_SHARE, FINAL_SHARE = 0.15, 0.6
"""Shares of the time. The search gets the rest, but for the reserve."""
ENTRANTS_A_FINALIST = 2
"""A rung that fewer trials enter chooses too little for what it costs, and is left out."""
MAX_RUNG_TRIALS = 16
MAX_MINUTES = 1_000_000


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
        return fit_folded(file, minutes, n_workers, seconds, shape, whole)
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

    An epoch of a trial takes `more_s` seconds less than `cost`, which is that of longer trainings. Networks
    that leave no time for enough trials give way to narrower ones.
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
    tail = tail_s(longest_s(searched), n_workers)
    left_s = (1 - RESERVE) * budget - final_s - tail
    short_cost = {w: epoch_s - more_s for w, epoch_s in cost.items()}
    trial_s = _trial_s(searched, width, short_cost)
    late_s = max(n * short_cost[width if f == "cnn" else MLP] for f, n in searched.items())
    n_middle = _n_middle(n_finalists, n_workers, RUNG_SHARE * budget, longest_s(middle))
    middle_s = math.ceil(n_middle / n_workers) * longest_s(middle)
    n_trials = n_trials_in(file, (left_s - middle_s) * n_workers, trial_s, late_s)
    if n_trials < n_middle:  # too few for them to have been the best of many
        n_middle, middle_s = 0, 0.0
        n_trials = n_trials_in(file, left_s * n_workers, trial_s, late_s)
    if n_trials < MIN_TRIALS:
        narrower = {w: s for w, s in cost.items() if w is MLP or (width or 0) > w}
        if narrower.keys() - {MLP}:
            return _fit_ladder(file, minutes, n_workers, narrower, more_s, shape)
        raise UsageError(
            f"--minutes {minutes:g} is too short for {MIN_TRIALS} trials and a ladder here, where a trial "
            f"takes {trial_s:.1f} s; give more minutes, or use --trials N"
        )
    searching_s = search_s(file, n_trials, trial_s, late_s) / n_workers + tail
    rungs = [{"epochs": middle, "trials": n_middle}] if n_middle else []
    n_final = n_trainings(n_finalists, REPLICATES)
    return Plan(
        minutes,
        n_workers,
        _resolved(file, width, final, n_trials, {"rungs": rungs, "finalists": n_finalists}, shape),
        {_name(model): cost[model] for model in (width, MLP) if model in cost},
        [
            ("search", n_trials, searched, searching_s / 60),
            *([("rung 2", n_middle, middle, middle_s / 60)] if n_middle else []),
            ("final trainings", n_final, final, final_s / 60),
        ],
    )


def _n_middle(n_finalists: int, n_workers: int, seconds: float, training_s: float) -> int:
    """Return how many trials the rung between search and final trainings takes; 0: there is none."""
    fitting = n_workers * math.floor(seconds / training_s)
    return min(MAX_RUNG_TRIALS, fitting) if fitting >= ENTRANTS_A_FINALIST * n_finalists else 0


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
