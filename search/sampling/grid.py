"""All points of a finite search space."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from optuna.distributions import FloatDistribution, IntDistribution

from ...studies import PARAMETERS, Entry, Range, StudyFile, Value, parse_study
from ..errors import UsageError
from ..study_names import grid_name
from .space import Params, _cast, _exists, distribution

MAX_POINTS = 10_000
"""Larger spaces are not listed: in them a random point is hardly ever a repeat."""


def grid(study: StudyFile) -> list[Params]:
    """Return every distinct point of a space of lists. A point has only the parameters that exist."""
    return list(_points(study))


def finite_points(study: StudyFile) -> list[Params] | None:
    """Return every distinct point of the space, or None if it is continuous or has over MAX_POINTS."""
    if any(_is_continuous(name, entry) for name, entry in study.space.items()):
        return None
    points = list(islice(_points(study), MAX_POINTS + 1))
    return points if len(points) <= MAX_POINTS else None


def continuous(study: StudyFile) -> list[str]:
    """Return the parameters of the space that have no list of values."""
    return [name for name, entry in study.space.items() if _is_continuous(name, entry)]


def count_points(study: StudyFile) -> int:
    """Count the distinct points of the space without listing them. A continuous parameter counts once."""
    names = [name for name in PARAMETERS if name in study.space]
    # only these decide whether others exist; the rest multiply
    deciders = {other for name in names for other in PARAMETERS[name].when}

    def count(params: Params, position: int) -> int:
        if position == len(names):
            return 1
        name = names[position]
        entry = study.space[name]
        if not _exists(name, params):
            return count(params, position + 1)
        if _is_continuous(name, entry):
            return count(params, position + 1)
        values = _values(name, entry)
        if name not in deciders:
            return len(values) * count(params, position + 1)
        return sum(count({**params, name: value}, position + 1) for value in values)

    return count({}, 0)


def _points(study: StudyFile) -> Iterator[Params]:
    names = [name for name in PARAMETERS if name in study.space]

    def extend(params: Params, position: int) -> Iterator[Params]:
        """Yield `params` with every combination of the parameters from `position` on."""
        if position == len(names):
            yield params
            return
        name = names[position]
        values = _values(name, study.space[name]) if _exists(name, params) else None
        if values is None:
            yield from extend(params, position + 1)
            return
        for value in values:
            yield from extend({**params, name: value}, position + 1)

    yield from extend({}, 0)


def _is_continuous(name: str, entry: Entry) -> bool:
    numbers = distribution(name, entry)
    return isinstance(numbers, FloatDistribution) and numbers.step is None


def _values(name: str, entry: Entry) -> list[Value]:
    """Return all values of an entry that is not continuous."""
    if not isinstance(entry, Range):
        values = entry if isinstance(entry, tuple) else (entry,)
        return [_cast(name, value) for value in values]
    numbers = distribution(name, entry)
    if isinstance(numbers, IntDistribution):
        return list(range(numbers.low, numbers.high + 1, numbers.step))
    assert isinstance(numbers, FloatDistribution)
    assert numbers.step is not None, "a continuous range has no list of values"
    # Optuna lowers `high` to the last step, up to rounding
    n_steps = round((numbers.high - numbers.low) / numbers.step)
    return [min(numbers.low + i * numbers.step, numbers.high) for i in range(n_steps + 1)]


def grid_part(file: StudyFile) -> StudyFile:
    """Return the study file of the grid alone. Raises UsageError if the study is not a grid."""
    if file.search.sampler != "grid":
        raise UsageError(
            f'--only grid needs sampler = "grid"; {file.name} uses "{file.search.sampler}"'
        )
    data = file.model_dump(mode="json") | {"name": grid_name(file.name), "baselines": []}
    data["search"]["trials"] = None
    return parse_study(data, file.name)
