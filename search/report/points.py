"""Count the distinct points of a search space."""

from __future__ import annotations

import math

from ...studies import PARAMETERS, Range, StudyFile, Value
from ..sampling.grid import grid

MOST = 20_000
"""Larger spaces are not counted: no search comes near their end."""


def count_points(study_file: StudyFile) -> int | None:
    """Return the number of points, None for a space with a continuous parameter or above `MOST`."""
    lists: dict[str, tuple[Value, ...]] = {}
    for name, entry in study_file.space.items():
        if isinstance(entry, Range):
            values = _values(name, entry)
            if values is None:
                return None
            lists[name] = values
        else:
            lists[name] = entry if isinstance(entry, tuple) else (entry,)
    if math.prod(map(len, lists.values())) > MOST:
        return None
    return len(grid(study_file.model_copy(update={"space": lists})))


def _values(name: str, entry: Range) -> tuple[Value, ...] | None:
    """Return the values of a range with steps, None for a continuous one."""
    if PARAMETERS[name].kind is int:
        return tuple(range(int(entry.low), int(entry.high) + 1, int(entry.step or 1)))
    if entry.step is None:
        return None
    n = math.floor((entry.high - entry.low) / entry.step + 1e-9) + 1
    return tuple(entry.low + i * entry.step for i in range(min(n, MOST + 1)))
