"""What a search will cost, forecast before it begins: some of its configurations are timed here."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from ...studies import StudyFile
from .. import env
from ..data import registry
from ..data.load import load_dataset
from ..data.places import given_as
from ..errors import UsageError
from ..evaluation.ladder import n_entrants
from ..evaluation.stages import Candidate, Stage, ladder_stages, race_stages
from ..sampling.grid import continuous, count_points
from ..sampling.space import baseline_params
from ..study import check_points
from .family_costs import FamilyCost, Point, configured, draw, family_costs, timed_points
from .final_stages import FINALISTS, REPLICATES, ROUNDS
from .request import SearchRequest, resolve
from .timing import Measured, measure, pruned_share

START_S = 4.0
"""Seconds before a worker's first batch (benchmarks/results/startup.json)."""


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
    drawn = draw(file, shape)
    baselines = file.baselines if file.search.sampler in ("tpe", "random", "baselines") else ()
    timed = timed_points(drawn)
    configs = [point.config for point in timed]
    configs += [configured(file, shape, baseline_params(b)) for b in baselines]
    n_folds = file.search.folds or 0
    measured = measure(
        configs, slots, dataset=given_as(named), data_root=request.data_root, n_folds=n_folds
    )
    whole = data.info.whole_share(n_folds)
    families = family_costs(drawn, timed, measured.seconds)
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
        stages={f.family: _stages(file, f, whole, len(slots)) for f in families},
        worker_mb=measured.worker_mb,
        gpu_mb=measured.gpu_mb,
        available_mb=available_mb,
        trials_in_time=_trials_in_time(minutes, search_s, n_trials),
        does_not_fit=_does_not_fit(
            file, drawn, n_trials, minutes, search_s, measured, len(slots), available_mb
        ),
        measured_s=time.monotonic() - started,
    )


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
    pruned = pruned_share(file, n_searched)
    fixed = [b.epochs * b.epoch_s for b in baselines]
    low = n_searched * as_drawn * pruned + sum(fixed)
    high = n_startup * as_drawn + (n_searched - n_startup) * slowest + sum(fixed)
    n = max(1, min(n_workers, n_searched + len(fixed)))
    # no search is over before its longest trial
    longest = max([*fixed, *([slowest] if n_searched else [])], default=0.0)
    return max(low / n, *fixed, 0.0) + START_S, max(high / n, longest) + START_S


def _stages(file: StudyFile, cost: FamilyCost, whole: float, n_workers: int) -> list[Stage]:
    """Return the final evaluation's stages if all its candidates are of one family.

    `whole` is an epoch on the training split as a share of a trial's epoch, which may be one of each fold.
    """
    n = FINALISTS if file.ladder is None else n_entrants(file)
    candidates = [Candidate(cost.family, cost.epoch_s, whole * cost.epoch_s)] * n
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
    drawn: list[Point],
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
