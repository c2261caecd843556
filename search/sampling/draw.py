"""Draw all parameters of a trial, then store them with one write.

A point that another trial has is not stored: it is drawn again. After a few repeats of a finite space a
random untried point is taken, because TPE returns its favourite whatever its seed.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import optuna
import sqlalchemy as sa
from optuna.distributions import BaseDistribution, FloatDistribution, distribution_to_json

from ...studies import StudyFile
from ..database.optuna_rows import attributes_table, params_table, trials_table, write_attrs
from ..seeds import derive_seed
from .grid import finite_points
from .sampler import RANDOM_DRAWS
from .space import Params, distribution, suggest

MAX_DRAWS = 50
MAX_REPEATS = 5
"""Repeats of other trials before a random untried point is taken."""
EXHAUSTED = "exhausted"
"""User attribute of the first trial that repeats a point because no other is left."""

Accept = Callable[[Params], bool]
Redraw = Callable[[int], optuna.Trial]
"""Returns a new view of the same trial; the number of the draw decides the seed of its sampler."""
Begin = Callable[[], contextlib.AbstractContextManager[sa.Connection]]
"""Opens a transaction. It should exclude the other workers of the study, which may draw the same point."""

_log = logging.getLogger(__name__)


def suggest_at_once(
    begin: Begin,
    trial: optuna.Trial,
    study_file: StudyFile,
    *,
    redraw: Redraw | None = None,
    accept: Accept = lambda params: True,
) -> Params:
    """Sample every parameter that exists for this trial and store the new ones together.

    The user attribute `family` is stored with them; the pruner finds a trial's peers by it. The call may be
    repeated after an outage.

    Args:
        begin: opens the transaction in which the point is compared with other trials' and stored.
        trial: the claimed trial.
        study_file: the space.
        redraw: draws the trial again if its point is refused; None keeps the first draw.
        accept: refuses points, at most MAX_DRAWS times in a row.
    """
    point = _draw(trial, study_file)
    store = _Store(begin, trial, study_file)
    # a queued point is taken as it is, and so is one that was stored before an interruption
    if redraw is None or not point.rows or _is_queued(trial):
        store(point)
        return point.params
    n_repeats = 0
    for draw in range(1, MAX_DRAWS):
        if accept(point.params):
            if store.if_new(point):
                return point.params
            n_repeats += 1
            if n_repeats == MAX_REPEATS:
                return _untried(store, point, redraw, accept)
        point = _draw(redraw(draw), study_file)
    store(point)
    return point.params


@dataclass(frozen=True, slots=True)
class _Point:
    """A point, and those of its parameters that the storage does not have yet."""

    params: Params
    rows: dict[str, tuple[float, BaseDistribution]]
    """By name: Optuna's internal value and the distribution."""


def _draw(trial: optuna.Trial, study_file: StudyFile) -> _Point:
    buffer = _ParamBuffer(trial.storage)
    trial.storage = cast("optuna.storages.BaseStorage", buffer)
    try:
        return _Point(suggest(trial, study_file), buffer.rows)
    finally:
        trial.storage = buffer.storage


def _untried(store: _Store, repeat: _Point, redraw: Redraw, accept: Accept) -> Params:
    """Store a random point that no trial has, or `repeat` if there is none."""
    points = finite_points(store.study_file)
    if points is None:
        # a random draw hardly ever repeats, except where the search is stuck in a small part
        for draw in range(MAX_DRAWS):
            point = _draw(redraw(RANDOM_DRAWS + draw), store.study_file)
            if accept(point.params) and store.if_new(point):
                return point.params
        store(repeat)
        return repeat.params
    rng = random.Random(derive_seed(store.study_file.search.seed, "untried", store.trial.number))
    rng.shuffle(points)
    tried = store.tried()
    for params in points:
        point = _Point(params, store.rows_of(params))
        # another worker may have stored the point since `tried` was read
        if store.key(point) not in tried and accept(params) and store.if_new(point):
            return params
    store(repeat, exhausted=len(points))
    return repeat.params


class _Store:
    """Writes a point, and compares points with those of the study's other trials."""

    def __init__(self, begin: Begin, trial: optuna.Trial, study_file: StudyFile) -> None:
        self.begin, self.trial, self.study_file = begin, trial, study_file
        self._distributions = {
            name: numbers
            for name, entry in study_file.space.items()
            if (numbers := distribution(name, entry)) is not None
        }

    def __call__(self, point: _Point, *, exhausted: int = 0) -> None:
        """Store the point. `exhausted` is the number of points of a space that has no untried one."""
        with contextlib.suppress(sa.exc.IntegrityError), self.begin() as db:
            self._insert(db, point)
            if exhausted and not self._said(db):
                write_attrs(db, self.trial._trial_id, {EXHAUSTED: exhausted})
                _log.warning(
                    "the search space is exhausted: its %d points have been tried or exceed a limit of "
                    "the study; further trials repeat points with other seeds",
                    exhausted,
                )

    def if_new(self, point: _Point) -> bool:
        """Store the point unless another trial has it. Return whether it is this trial's now."""
        with contextlib.suppress(sa.exc.IntegrityError), self.begin() as db:
            # two draws of a continuous parameter never agree
            if all(map(_is_discrete, (d for _, d in point.rows.values()))) and self.key(
                point
            ) in self._tried(db):
                return False
            self._insert(db, point)
        return True

    def tried(self) -> set[frozenset[tuple[str, float]]]:
        """Return the keys of all points of other trials."""
        with self.begin() as db:
            return self._tried(db)

    def rows_of(self, params: Params) -> dict[str, tuple[float, BaseDistribution]]:
        """Return the searched parameters of a point as Optuna stores them."""
        return {
            name: (self._distributions[name].to_internal_repr(value), self._distributions[name])
            for name, value in params.items()
            if name in self._distributions
        }

    def key(self, point: _Point) -> frozenset[tuple[str, float]]:
        """Return what two trials share only if they have the same point."""
        return self._key((name, value) for name, (value, _) in point.rows.items())

    def _key(self, values: Iterable[tuple[str, float]]) -> frozenset[tuple[str, float]]:
        return frozenset((name, _index(self._distributions.get(name), v)) for name, v in values)

    def _tried(self, db: sa.Connection) -> set[frozenset[tuple[str, float]]]:
        p, t = params_table.c, trials_table.c
        others = (t.study_id == self.trial.study._study_id) & (t.trial_id != self.trial._trial_id)
        query = sa.select(p.trial_id, p.param_name, p.param_value)
        values: dict[int, list[tuple[str, float]]] = {}
        for trial_id, name, value in db.execute(
            query.join(trials_table, t.trial_id == p.trial_id).where(others)
        ):
            values.setdefault(trial_id, []).append((name, value))
        return {self._key(point) for point in values.values()}

    def _insert(self, db: sa.Connection, point: _Point) -> None:
        # IntegrityError: a former attempt whose answer got lost has written the same values, drawn from
        # the same seed
        trial_id = self.trial._trial_id
        rows = [
            {
                "trial_id": trial_id,
                "param_name": name,
                "param_value": value,
                "distribution_json": distribution_to_json(numbers),
            }
            for name, (value, numbers) in point.rows.items()
        ]
        if rows:
            db.execute(sa.insert(params_table), rows)
            write_attrs(db, trial_id, {"family": point.params["arch"]})

    def _said(self, db: sa.Connection) -> bool:
        a, t = attributes_table.c, trials_table.c
        query = sa.select(a.trial_id).join(trials_table, t.trial_id == a.trial_id)
        query = query.where(t.study_id == self.trial.study._study_id, a.key == EXHAUSTED)
        return db.execute(query.limit(1)).first() is not None


def _is_queued(trial: optuna.Trial) -> bool:
    return "fixed_params" in trial.storage.get_trial(trial._trial_id).system_attrs


def _is_discrete(numbers: BaseDistribution) -> bool:
    return not isinstance(numbers, FloatDistribution) or numbers.step is not None


def _index(numbers: BaseDistribution | None, value: float) -> float:
    """Return the number of the step, where there are steps: samplers differ in the last bits of a value."""
    if isinstance(numbers, FloatDistribution) and numbers.step is not None:
        return round((value - numbers.low) / numbers.step)
    return value


class _ParamBuffer:
    """A storage that keeps a trial's new parameters instead of writing them.

    Optuna writes each parameter as it is sampled. A point that is refused or repeats another must never
    be stored, so all parameters are sampled before any is written.
    """

    def __init__(self, storage: optuna.storages.BaseStorage) -> None:
        self.storage = storage
        self.rows: dict[str, tuple[float, BaseDistribution]] = {}

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        self.rows[param_name] = (param_value_internal, distribution)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.storage, name)
