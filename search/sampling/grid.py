"""Grids: every point of a space of lists."""

from __future__ import annotations

import itertools

from ...studies import PARAMETERS, Entry, Range, StudyFile, Value, parse_study
from ..errors import UsageError
from ..study_names import grid_name
from .space import Params, _cast, _exists


def grid(study: StudyFile) -> list[Params]:
    """Every distinct point of a space of lists: a parameter that does not exist is left out."""
    names = [name for name in PARAMETERS if name in study.space]
    points: dict[str, Params] = {}
    lists = [_as_list(name, study.space[name]) for name in names]
    for values in itertools.product(*lists):
        params: Params = {}
        for name, value in zip(names, values, strict=True):
            if _exists(name, params):
                params[name] = value
        points.setdefault(repr(sorted(params.items())), params)
    return list(points.values())


def _as_list(name: str, entry: Entry) -> list[Value]:
    assert not isinstance(entry, Range), "the schema admits no range in a grid"
    values = entry if isinstance(entry, tuple) else (entry,)
    return [_cast(name, value) for value in values]


def grid_part(file: StudyFile) -> StudyFile:
    """The study file that holds the grid alone. Raises UsageError when it is none."""
    if file.search.sampler != "grid":
        raise UsageError(f"the study {file.name} is no grid; its sampler is {file.search.sampler}")
    data = file.model_dump(mode="json") | {"name": grid_name(file.name), "baselines": []}
    data["search"]["trials"] = None
    return parse_study(data, file.name)
