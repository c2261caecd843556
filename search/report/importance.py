"""Measure which parameters mattered: fANOVA over the complete trials, together and by family.

Only parameters that every trial of a group has are measured. The learning rates of the optimizers are
separate parameters with different ranges. Here they count as one, the position in the range.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution

from .gather import ReportTrial, Space

MIN_TRIALS = 8
MAX_TRIALS = 300
"""Trials of a group that are measured: 3,000 took 4 minutes of one core."""
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
    """Over random forests with other seeds: the chance in the method itself."""


def importances(trials: Sequence[ReportTrial], space: Space) -> list[Importance]:
    """Measure all complete trials, then each family; groups with too few trials are left out."""
    groups = {"all trials": list(trials)}
    families = sorted({t.family for t in trials if t.family})
    if len(families) > 1:
        groups |= {f: [t for t in trials if t.family == f] for f in families}
    measured = [_importance(name, members, space) for name, members in groups.items()]
    return [one for one in measured if one is not None]


def _importance(group: str, trials: Sequence[ReportTrial], space: Space) -> Importance | None:
    usable = [t for t in trials if t.searched and not t.outside and t.value is not None]
    if len(usable) < MIN_TRIALS or len({t.value for t in usable}) < 2:
        return None
    if len(usable) > MAX_TRIALS:  # drawn without a look at their values
        drawn = np.random.default_rng(0).choice(len(usable), MAX_TRIALS, replace=False)
        usable = [usable[i] for i in sorted(drawn)]
    study = _study(usable, space)
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


def _study(trials: Sequence[ReportTrial], space: Space) -> optuna.Study:
    """Make a study in memory whose trials share one learning-rate parameter."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(
            direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0)
        )
    finally:
        optuna.logging.set_verbosity(verbosity)
    for trial in trials:
        params = dict(trial.searched)
        distributions = {name: space[name] for name in params}
        for name in _RATES:
            if name in params:
                params[LEARNING_RATE] = position(distributions.pop(name), params.pop(name))
                distributions[LEARNING_RATE] = FloatDistribution(0, 1)
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=distributions, value=trial.value)
        )
    return study


def position(distribution: BaseDistribution, value: float) -> float:
    """Return where `value` is in its range, from 0 (lower end) to 1, on the range's own scale.

    The distribution must contain `value`; the choices of a categorical one must be numbers.
    """
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
