"""Which parameters mattered: fANOVA over the complete trials, for all of them and for each family.

A parameter counts where every trial has it. The learning rates of the optimizers are different
parameters with different ranges; here they are one, `learning rate`, the position in its range.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution

from .gather import TrialRecord

MIN_TRIALS = 8
N_SEEDS = 4
LEARNING_RATE = "learning rate"
_RATES = ("lr", "sgd_lr")


@dataclass(frozen=True, slots=True)
class Importance:
    """Shares of the explained variance by parameter, largest first; they sum to 1."""

    group: str
    n_trials: int
    mean: dict[str, float]
    sd: dict[str, float]
    """Over random forests with other seeds: how much of the mean is chance of the method."""


def importances(trials: Sequence[TrialRecord]) -> list[Importance]:
    """Of all complete trials, then of each family; groups with too few trials are left out."""
    groups = {"all trials": list(trials)}
    families = sorted({t.family for t in trials})
    if len(families) > 1:
        groups |= {f: [t for t in trials if t.family == f] for f in families}
    found = [_importance(name, members) for name, members in groups.items()]
    return [one for one in found if one is not None]


def _importance(group: str, trials: Sequence[TrialRecord]) -> Importance | None:
    usable = [t for t in trials if t.raw.params and t.value is not None]
    if len(usable) < MIN_TRIALS or len({t.value for t in usable}) < 2:
        return None
    study = _study(usable)
    try:
        runs = [_fanova(study, seed) for seed in range(N_SEEDS)]
    except RuntimeError:  # "zero total variance in all trees": all have the same parameters
        return None
    names = sorted(runs[0], key=lambda name: -np.mean([run[name] for run in runs]))
    if not names:
        return None
    return Importance(
        group,
        len(usable),
        {name: float(np.mean([run[name] for run in runs])) for name in names},
        {name: float(np.std([run[name] for run in runs], ddof=1)) for name in names},
    )


def _fanova(study: optuna.Study, seed: int) -> dict[str, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=32, seed=seed)
        return optuna.importance.get_param_importances(study, evaluator=evaluator)


def _study(trials: Sequence[TrialRecord]) -> optuna.Study:
    """A study in memory whose trials share one learning-rate parameter."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0)
        )
    finally:
        optuna.logging.set_verbosity(verbosity)
    for trial in trials:
        params, distributions = dict(trial.raw.params), dict(trial.raw.distributions)
        for name in _RATES:
            if name in params:
                known = distributions.pop(name)
                params[LEARNING_RATE] = position(known, params.pop(name))
                distributions[LEARNING_RATE] = FloatDistribution(0, 1)
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, value=trial.value)
        )
    return study


def position(distribution: BaseDistribution, value: float) -> float:
    """Where in its range a value lies, 0 at the lower and 1 at the upper end, on the range's own scale."""
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        choices = sorted(distribution.choices)  # type: ignore[type-var]
        return choices.index(value) / max(1, len(choices) - 1)
    assert isinstance(distribution, FloatDistribution | optuna.distributions.IntDistribution)
    low, high = float(distribution.low), float(distribution.high)
    if high == low:
        return 0.0
    if distribution.log:
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)
