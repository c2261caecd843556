"""What a search will cost, forecast before it begins: some of its configurations are timed here."""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict, dataclass
from typing import Any

import optuna
import psutil

from ...models.config import Shape
from ...studies import StudyFile
from .. import env
from ..data import registry
from ..data.load import load_dataset
from ..data.places import given_as
from ..errors import UsageError
from ..evaluation.ladder import n_entrants
from ..evaluation.stages import Candidate, Stage, ladder_stages, race_stages
from ..sampling.grid import continuous, count_points
from ..sampling.space import Params, baseline_params, suggest, to_config
from ..study import check_points
from ..training.config import TrialConfig
from .final_stages import FINALISTS, REPLICATES, ROUNDS
from .request import SearchRequest, resolve
from .timing import PRUNED_SHARE, Measured, measure

N_DRAWN = 200
"""Points drawn from the space for its range of weights and its share of each family."""
N_TIMED = 8
"""Configurations of each family that are timed."""
START_S = 4.0
"""Seconds before a worker's first batch (benchmarks/results/startup.json)."""


@dataclass(frozen=True, slots=True)
class FamilyCost:
    """What one family of models costs."""

    family: str
    share: float
    """Of the points drawn at random. A search moves towards the better family."""
    epochs: int
    epoch_s: float
    """Mean seconds of an epoch, with all workers busy."""
    epoch_s_range: tuple[float, float]
    n_timed: int
    weights: tuple[int, int]
    """The smallest and the largest model among the points drawn."""

    @property
    def trial_s(self) -> float:
        """Seconds of a trial that nothing stops."""
        return self.epochs * self.epoch_s


@dataclass(frozen=True, slots=True)
class _Point:
    """A random point of the space."""

    config: TrialConfig
    n_weights: int

    @property
    def family(self) -> str:
        return str(self.config.family)


@dataclass(frozen=True, slots=True)
class BaselineCost:
    """What a baseline costs if patience does not end it earlier."""

    name: str
    epochs: int
    epoch_s: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The forecast of a search and of its final evaluation."""

    study: str
    dataset: str
    n_trials: int
    n_configurations: int
    """Distinct points; a continuous parameter counts once."""
    continuous: list[str]
    """Parameters without a list of values: with any, the space has no end."""
    families: list[FamilyCost]
    baselines: list[BaselineCost]
    n_workers: int
    search_s: tuple[float, float]
    """From: families as drawn, and trials pruned. To: the slowest family alone after the start-up trials."""
    stages: dict[str, list[Stage]]
    """The final evaluation's stages, by the family that would win."""
    worker_mb: float
    gpu_mb: float
    available_mb: float
    trials_in_time: tuple[int, int] | None
    """How many trials fit into the minutes asked for, at most and at least."""
    does_not_fit: list[str]
    """What goes beyond a limit or this machine's means, one line each."""
    measured_s: float

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object of `bloodsearch plan`."""
        return asdict(self)


def plan(request: SearchRequest, *, minutes: float | None = None) -> Plan:
    """Time a few configurations of the search that `request` asks for, and forecast its cost.

    Trains nothing to its end and writes nothing. Takes one to three seconds per configuration on a CPU.
    Raises UsageError if no budget is given, and what `run_search` raises for data and study files.
    """
    started = time.monotonic()
    file, request = resolve(request)
    n_trials = request.trials or file.search.trials
    if not n_trials:
        raise UsageError(f"--trials is missing; the study file {file.name} sets no search.trials")
    slots = request.placement.slots(file.training.threads)
    named = request.dataset or registry.DEFAULT
    data = load_dataset(named, request.data_root).fingerprint
    check_points(file, data.info)
    shape = data.info.shape
    drawn = _draw(file, shape)
    baselines = file.baselines if file.search.sampler in ("tpe", "random", "baselines") else ()
    timed = _timed(drawn)
    configs = [point.config for point in timed]
    configs += [_config(file, shape, baseline_params(b)) for b in baselines]
    measured = measure(configs, slots, dataset=given_as(named), data_root=request.data_root)
    families = _families(drawn, timed, measured.seconds)
    costs = [
        BaselineCost(baseline.name, config.epochs, epoch_s)
        for baseline, config, epoch_s in zip(
            baselines, configs[len(timed) :], measured.seconds[len(timed) :], strict=True
        )
    ][:n_trials]
    n_searched = max(0, n_trials - len(costs))
    search_s = _search_seconds(file, families, costs, n_searched, len(slots))
    available_mb = psutil.virtual_memory().available / 2**20
    return Plan(
        study=file.name,
        dataset=data.describe(),
        n_trials=n_trials,
        n_configurations=count_points(file),
        continuous=continuous(file),
        families=families,
        baselines=costs,
        n_workers=len(slots),
        search_s=search_s,
        stages={f.family: _stages(file, f, len(slots)) for f in families},
        worker_mb=measured.worker_mb,
        gpu_mb=measured.gpu_mb,
        available_mb=available_mb,
        trials_in_time=_trials_in_time(minutes, search_s, n_trials),
        does_not_fit=_does_not_fit(
            file, drawn, n_trials, minutes, search_s, measured, len(slots), available_mb
        ),
        measured_s=time.monotonic() - started,
    )


def _draw(file: StudyFile, shape: Shape) -> list[_Point]:
    """Return random points of the space, none for a study of baselines."""
    from ..training.cost import n_parameters

    if file.search.sampler == "baselines":
        return []
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=file.search.seed))
    configs = [_config(file, shape, suggest(study.ask(), file)) for _ in range(N_DRAWN)]
    return [_Point(config, n_parameters(config.model)) for config in configs]


def _timed(drawn: list[_Point]) -> list[_Point]:
    """Return the first N_TIMED points of each family."""
    chosen: list[_Point] = []
    for point in drawn:
        if sum(other.family == point.family for other in chosen) < N_TIMED:
            chosen.append(point)
    return chosen


def _config(file: StudyFile, shape: Shape, params: Params) -> TrialConfig:
    training = file.training
    epochs = training.epochs_of(params["arch"])
    return to_config(params, epochs=epochs, patience=training.patience, shape=shape)


def _families(
    drawn: list[_Point], timed: list[_Point], timed_seconds: list[float]
) -> list[FamilyCost]:
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


def _search_seconds(
    file: StudyFile,
    families: list[FamilyCost],
    baselines: list[BaselineCost],
    n_searched: int,
    n_workers: int,
) -> tuple[float, float]:
    """Return the wall clock's seconds of a search, from and to."""
    as_drawn = sum(f.share * f.trial_s for f in families)
    slowest = max((f.trial_s for f in families), default=0.0)
    n_startup = min(n_searched, file.search.startup_trials)
    if file.search.sampler != "tpe":
        n_startup = n_searched
    pruned = 1.0
    if file.pruner.name != "none" and n_searched > 2 * file.search.startup_trials:
        pruned = PRUNED_SHARE
    fixed = [b.epochs * b.epoch_s for b in baselines]
    low = n_searched * as_drawn * pruned + sum(fixed)
    high = n_startup * as_drawn + (n_searched - n_startup) * slowest + sum(fixed)
    n = max(1, min(n_workers, n_searched + len(fixed)))
    # no search is over before its longest trial
    longest = max([*fixed, *([slowest] if n_searched else [])], default=0.0)
    return max(low / n, *fixed, 0.0) + START_S, max(high / n, longest) + START_S


def _stages(file: StudyFile, cost: FamilyCost, n_workers: int) -> list[Stage]:
    """Return the final evaluation's stages if all its candidates are of one family."""
    n = FINALISTS if file.ladder is None else n_entrants(file)
    candidates = [Candidate(cost.family, cost.epoch_s)] * n
    if file.ladder is not None:
        return ladder_stages(file, candidates, n_replicates=REPLICATES, n_workers=n_workers)
    return race_stages(
        file, candidates, rounds=ROUNDS, n_replicates=REPLICATES, n_workers=n_workers
    )


def _trials_in_time(
    minutes: float | None, search_s: tuple[float, float], n_trials: int
) -> tuple[int, int] | None:
    if minutes is None:
        return None
    most, least = (int(n_trials * 60 * minutes / max(s, 1e-9)) for s in search_s)
    return most, least


def _does_not_fit(
    file: StudyFile,
    drawn: list[_Point],
    n_trials: int,
    minutes: float | None,
    search_s: tuple[float, float],
    measured: Measured,
    n_workers: int,
    available_mb: float,
) -> list[str]:
    lines = []
    points = count_points(file)
    if drawn and not continuous(file) and points < n_trials:
        lines.append(f"{n_trials} trials: the space has {points} configurations; others repeat")
    if minutes is not None and 60 * minutes < search_s[1]:
        lines.append(f"{n_trials} trials may need more than {minutes:g} minutes")
    if measured.worker_mb * n_workers > available_mb:
        lines.append(
            f"{n_workers} workers need {measured.worker_mb * n_workers:,.0f} MiB of memory; "
            f"{available_mb:,.0f} MiB are free: use fewer --workers"
        )
    if measured.worker_mb > env.worker_mb():
        lines.append(
            f"a worker needs {measured.worker_mb:,.0f} MiB, more than $BLOODSEARCH_WORKER_MB "
            f"({env.worker_mb():,.0f}): it would start again after each trial"
        )
    limit = file.search.max_params
    if limit is not None and (n_large := sum(point.n_weights > limit for point in drawn)):
        lines.append(
            f"{n_large} of {len(drawn)} random configurations exceed {limit:,} weights "
            "and are drawn again"
        )
    return lines
