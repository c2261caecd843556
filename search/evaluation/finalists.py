"""The second stage: the search's best are trained again with fresh seeds, and clear losers leave early.

A search value is the best of many noisy ones and so too high. The finalists' fresh values are free of the
luck of that seed. They are not free of the validation images' part of the noise, which all seeds of a
configuration share: more seeds do not remove it, and only the test split tells. In each round every
survivor is trained with one more seed, the same for all, and then those leave whose mean lies clearly below
the best one's (successive elimination; Even-Dar, Mannor, Mansour 2006). `python -m benchmarks selection`
compares such rules.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial, TrialState

from ..database.storage import Storage
from ..errors import RefusedError
from ..limits import within
from ..records import has_diverged, is_lost, trial_record
from ..sampling.space import Params
from ..seeds import derive_seed
from ..study import create_or_resume, enqueue, info, last_ended
from ..study_names import finalists_name
from .selection import complete_trials

Prefer = Literal["best", "small", "fast"]

SD_FLOOR = 0.003
"""The smallest standard deviation over seeds that decisions assume: few values can agree by chance."""
N_ATTEMPTS = 2
"""How often a finalist is trained with one seed at most: failing twice is not bad luck."""
CLEAR = 2.0
"""A finalist leaves if it is worse than the best by more than this many standard errors."""


@dataclass(frozen=True, slots=True)
class Finalist:
    """A candidate after the race; `values` are of fresh seeds, the search value is not among them."""

    trial: int
    search_value: float
    values: list[float]
    n_parameters: int | None
    latency_ms: float | None
    n_diverged: int = 0
    """Fresh seeds with which it diverged: each is worth nothing."""

    @property
    def n(self) -> int:
        return len(self.values) + self.n_diverged

    @property
    def mean(self) -> float:
        return sum(self.values) / self.n


@dataclass(frozen=True, slots=True)
class Raced:
    finalists: list[Finalist]
    """Best mean first."""
    sd: float
    """Standard deviation over seeds that decisions assume: pooled over finalists, at least SD_FLOOR."""
    winner: int
    """A trial's number."""
    prefer: Prefer

    undecided: list[int] = field(default_factory=list)
    """Trials that are not clearly worse than the winner."""
    rungs: list[dict[str, Any]] = field(default_factory=list)
    """The ladder's rungs below the finalists; empty where these repeat the search's own length."""
    is_ladder: bool = False

    @property
    def optimism(self) -> float | None:
        """Mean over finalists of search value minus the mean of the seeds that came to a value.

        None on a ladder, whose last values are of other lengths than the search's.
        """
        if self.is_ladder:
            return None
        return statistics.fmean(
            f.search_value - statistics.fmean(f.values) for f in self.finalists if f.values
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the race as the study and result.json store it (records.Race)."""
        return {
            "winner": self.winner,
            "prefer": self.prefer,
            "sd_over_seeds": self.sd,
            "optimism": self.optimism,
            "undecided": self.undecided,
            "rungs": self.rungs,
            "finalists": [
                {
                    "trial": f.trial,
                    "search_value": f.search_value,
                    "mean": f.mean,
                    "values": f.values,
                    "n_diverged": f.n_diverged,
                    "n_parameters": f.n_parameters,
                    "latency_ms": f.latency_ms,
                }
                for f in self.finalists
            ],
        }


def candidates(
    study: optuna.Study,
    k: int,
    *,
    max_params: int | None,
    max_latency_ms: float | None,
    keep: Sequence[str] = (),
) -> list[FrozenTrial]:
    """Return the `k` best configurations within the limits, each as its best complete trial, best first.

    Baselines named in `keep` are among them in place of the worst.

    Raises RefusedError when there are none.
    """
    complete = complete_trials(study)
    small_enough = [
        trial for trial in complete if within(trial, max_params, max_latency_ms, unknown=math.inf)
    ]
    if not small_enough:
        raise RefusedError(
            f"none of the {len(complete)} complete trials of {study.study_name!r} is within the "
            "limits; raise them, or search with the same --max-params and --max-latency"
        )
    best_first = sorted(small_enough, key=lambda trial: (-(trial.value or 0.0), trial.number))
    distinct: dict[
        str, FrozenTrial
    ] = {}  # several trainings of one configuration are one candidate
    for trial in best_first:
        params = trial_record(trial).params or {}
        distinct.setdefault(repr(sorted(params.items())), trial)
    return best_with_kept(list(distinct.values()), k, keep)


def best_with_kept(
    best_first: Sequence[FrozenTrial], k: int, keep: Sequence[str]
) -> list[FrozenTrial]:
    """Return the `k` best trials, best first, with the baselines `keep` among them in place of the worst."""
    places = places_with_kept([trial_record(trial).baseline for trial in best_first], k, keep)
    return [best_first[place] for place in places]


def places_with_kept(baselines: Sequence[str | None], k: int, keep: Sequence[str]) -> list[int]:
    """Return `k` places of a ranking by the names of its baselines: the first ones, and those of `keep`."""
    kept = [place for place, name in enumerate(baselines) if name in keep][:k]
    others = [place for place in range(len(baselines)) if place not in kept]
    return sorted(kept + others[: k - len(kept)])


def race(
    storage: Storage,
    study: optuna.Study,
    trials: list[FrozenTrial],
    *,
    rounds: int,
    prefer: Prefer,
    train: Callable[[optuna.Study], None],
) -> Raced:
    """Train the candidates with fresh seeds until one is left or `rounds` are over, and choose.

    They are trials of the study `NAME-finalists`; `train` trains what is queued there. Earlier trainings are
    kept, so an interrupted race can be resumed. It then decides as if it had not been interrupted: each round
    uses its own seeds and earlier ones. A failed training is retried once. Raises RefusedError when no
    finalist has a value.
    """
    study_info = info(study)
    arena = create_or_resume(
        storage,
        finalists_name(study_info.name),
        study_info.study_file,
        study_info.fingerprint,
        kind="finalists",
    )
    survivors, seeds = {trial.number for trial in trials}, list[int]()
    for number in range(1, rounds + 1):
        seeds.append(derive_seed(study_info.study_file.search.seed, "finalist", number))
        running = [trial for trial in trials if trial.number in survivors]
        for _ in range(N_ATTEMPTS):
            if queue_seed(storage, arena, running, seeds[-1]):
                train(arena)
        finalists = gather(arena, trials, seeds)
        survivors = remaining(finalists, survivors)
        if len(survivors) <= 1:
            break
    if not survivors:
        raise RefusedError(
            f"no finalist of {study_info.name} was trained to its end; {last_reason(arena)}"
        )
    raced = choose(finalists, survivors, prefer)
    study.set_user_attr("selection", raced.as_dict())
    return raced


def queue_seed(
    storage: Storage,
    arena: optuna.Study,
    trials: list[FrozenTrial],
    seed: int,
    points: Mapping[int, Params] | None = None,
) -> bool:
    """Queue each trial with this seed if it is missing; return whether anything is to train.

    `points` are the parameters to train each trial with, by its number; None: its own.
    """
    study_file = info(arena).study_file
    with storage.lock():
        states_of = {
            (record.replicate_of, record.seed): trial.state
            for trial in arena.get_trials(deepcopy=False)
            if not is_lost(trial) and (record := trial_record(trial))
        }
        for trial in trials:
            if (trial.number, seed) not in states_of:
                point = points[trial.number] if points else trial_record(trial).params or {}
                enqueue(arena, study_file, point, seed=seed, replicate_of=trial.number)
    states = [states_of.get((trial.number, seed), TrialState.WAITING) for trial in trials]
    return not all(state.is_finished() for state in states)


def gather(arena: optuna.Study, trials: list[FrozenTrial], seeds: list[int]) -> list[Finalist]:
    """Return the candidates that have a value with one of these seeds, best mean first."""
    values: defaultdict[int, dict[int, float]] = defaultdict(dict)
    diverged: Counter[int] = Counter()
    for trial in arena.get_trials(deepcopy=False):
        record = trial_record(trial)
        of = record.replicate_of
        if of is None or record.seed not in seeds:
            continue
        if trial.state is TrialState.COMPLETE:
            # the first: one whose weights are lost is trained again, perhaps on another processor
            values[of].setdefault(record.seed, float(trial.value or 0.0))
        elif has_diverged(trial):
            diverged[of] += 1
    finalists = [
        Finalist(
            trial=trial.number,
            search_value=float(trial.value or 0.0),
            values=[values[trial.number][s] for s in seeds if s in values[trial.number]],
            n_parameters=record.n_parameters,
            latency_ms=record.latency_ms,
            n_diverged=diverged[trial.number],
        )
        for trial in trials
        if trial.number in values and (record := trial_record(trial))
    ]
    return sorted(finalists, key=lambda f: (-f.mean, f.trial))


def last_reason(arena: optuna.Study) -> str:
    """Return why the last training of the arena ended without a value."""
    last = last_ended(arena, (TrialState.PRUNED, TrialState.FAIL))
    if last is None:
        return "the same command trains them"
    return f"trial {last.number} of {arena.study_name}: {trial_record(last).stop_reason or 'no reason'}"


def pooled_sd(finalists: list[Finalist]) -> float:
    """Return the pooled standard deviation over seeds, at least SD_FLOOR, without diverged trainings."""
    freedom = sum(len(f.values) - 1 for f in finalists)
    squares = sum(
        (value - statistics.fmean(f.values)) ** 2 for f in finalists for value in f.values
    )
    return max(SD_FLOOR, math.sqrt(squares / freedom)) if freedom else SD_FLOOR


def remaining(finalists: list[Finalist], survivors: set[int]) -> set[int]:
    """Return the survivors that are not clearly worse than the best of them.

    All remain until two seeds show how much the values of one configuration spread. With an assumed spread
    of 0.003 the best of eight left after one seed in 25 % of cases where the true one was 0.0075.
    """
    sd, alive = pooled_sd(finalists), [f for f in finalists if f.trial in survivors]
    if not alive or all(f.n < 2 for f in alive):
        return {f.trial for f in alive}
    best = alive[0]
    return {f.trial for f in alive if not clearly_worse(f, best, sd)}


def clearly_worse(finalist: Finalist, best: Finalist, sd: float) -> bool:
    """Return whether a finalist's mean is clearly below the best one's, at a spread of `sd` over seeds."""
    error = sd * math.sqrt(1 / finalist.n + 1 / best.n)
    return best.mean - finalist.mean > CLEAR * error


def choose(finalists: list[Finalist], survivors: set[int], prefer: Prefer) -> Raced:
    """Return the race with its winner: the best mean, or the smallest or fastest within one standard error.

    One that left was clearly worse then; later rounds may lower all others below the few values it has.
    """
    sd, alive = pooled_sd(finalists), [f for f in finalists if f.trial in survivors]
    best = alive[0]
    near = [f for f in alive if f.mean >= best.mean - sd / math.sqrt(best.n)]
    if prefer == "small":
        best = min(near, key=lambda f: (f.n_parameters or math.inf, f.trial))
    elif prefer == "fast":
        best = min(near, key=lambda f: (f.latency_ms or math.inf, f.trial))
    undecided = [f.trial for f in alive if f.trial in remaining(alive, survivors) - {best.trial}]
    return Raced(finalists, sd, best.trial, prefer, undecided)
