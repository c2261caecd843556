"""What trials of each family cost: random points of a space, some of which are timed."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

import optuna

from ...models.config import Shape
from ...studies import StudyFile
from ..sampling.space import Params, suggest, to_config
from ..training.config import TrialConfig

N_DRAWN = 200
"""Points drawn from the space for its range of weights and its share of each family."""
N_TIMED = 8
"""Configurations of each family that are timed."""


@dataclass(frozen=True, slots=True)
class FamilyCost:
    """What one family of models costs."""

    family: str
    share: float
    """Of the points drawn at random. A search moves towards the better family."""
    epochs: int
    epoch_s: float
    """Mean seconds of a trial's epoch, of all folds together, with all workers busy."""
    epoch_s_range: tuple[float, float]
    n_timed: int
    weights: tuple[int, int]
    """The smallest and the largest model among the points drawn."""

    @property
    def trial_s(self) -> float:
        """Seconds of a trial that nothing stops."""
        return self.epochs * self.epoch_s


@dataclass(frozen=True, slots=True)
class Point:
    """A random point of the space."""

    config: TrialConfig
    n_weights: int

    @property
    def family(self) -> str:
        return str(self.config.family)


def draw(file: StudyFile, shape: Shape) -> list[Point]:
    """Return random points of the space, none for a study of baselines."""
    from ..training.cost import n_parameters

    if file.search.sampler == "baselines":
        return []
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=file.search.seed))
    configs = [configured(file, shape, suggest(study.ask(), file)) for _ in range(N_DRAWN)]
    return [Point(config, n_parameters(config.model)) for config in configs]


def timed_points(drawn: list[Point]) -> list[Point]:
    """Return the first N_TIMED points of each family."""
    chosen: list[Point] = []
    for point in drawn:
        if sum(other.family == point.family for other in chosen) < N_TIMED:
            chosen.append(point)
    return chosen


def configured(file: StudyFile, shape: Shape, params: Params) -> TrialConfig:
    """Return the training of a point of the space, or of a baseline."""
    training = file.training
    epochs = training.epochs_of(params["arch"])
    return to_config(params, epochs=epochs, patience=training.patience, shape=shape)


def family_costs(
    drawn: list[Point], timed: list[Point], timed_seconds: list[float]
) -> list[FamilyCost]:
    """Return the cost of each family, from the seconds of an epoch of the points timed and any others."""
    costs = []
    for family in sorted({point.family for point in drawn}):
        own = [point for point in drawn if point.family == family]
        seconds = [
            s for point, s in zip(timed, timed_seconds, strict=False) if point.family == family
        ]
        weights = [point.n_weights for point in own]
        costs.append(
            FamilyCost(
                family=family,
                share=len(own) / len(drawn),
                epochs=round(statistics.fmean(point.config.epochs for point in own)),
                epoch_s=statistics.fmean(seconds),
                epoch_s_range=(min(seconds), max(seconds)),
                n_timed=len(seconds),
                weights=(min(weights), max(weights)),
            )
        )
    return costs
