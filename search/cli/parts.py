"""`bloodsearch optimize --only baselines|grid`: a study's named configurations and its grid, apart."""

from __future__ import annotations

import time
from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from . import output
from .options import part_name, storage_url

if TYPE_CHECKING:
    from ...studies import StudyFile
    from .optimize import Request

DEFAULT_REPLICATES = 3


class Part(StrEnum):
    baselines = "baselines"
    grid = "grid"


def choose_parts(
    file: StudyFile, only: Part | None, trials: int | None, replicates: int | None
) -> list[Part]:
    """What to run part by part: what --only says, or all of a study without a budget of its own."""
    if only is Part.grid and replicates is not None:
        raise UsageError("--replicates belongs to the baselines; each point of a grid runs once")
    if only is not None:
        if only is Part.baselines and trials is not None:
            raise UsageError("--trials does not go with --only baselines; say --replicates")
        return [only]
    whole = file.search.sampler in ("grid", "baselines") and trials is None
    if replicates is not None and not whole:
        raise UsageError("--replicates goes with --only baselines, or a grid or baselines study")
    if not whole:
        return []
    found = [Part.baselines] if file.baselines else []
    return found + ([Part.grid] if file.search.sampler == "grid" else [])


def run_parts(request: Request, parts: list[Part], replicates: int, *, as_json: bool) -> None:
    """The parts one after the other, each a study of its own; with JSON, one object for all."""
    from ..evaluation.baselines import baselines_part
    from ..sampling.grid import grid, grid_part
    from ..study import check_points, default_name
    from .optimize import search
    from .search_summary import shown_url

    check_points(request.study)
    deadline = None if request.timeout_s is None else time.monotonic() + request.timeout_s
    base = request.name or default_name(request.study, request.dataset)
    summaries: list[dict[str, Any]] = []
    try:
        for part in parts:
            name = part_name(base, part.value)
            if part is Part.baselines:
                file, n_trials = baselines_part(request.study), 0
            else:
                file = grid_part(request.study)
                n_trials = request.n_trials or len(grid(file))
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            mine = replace(
                request,
                study=file,
                name=name,
                n_trials=n_trials,
                replicates=replicates if part is Part.baselines else None,
                timeout_s=left,
            )
            command = f" {name}"
            if request.storage != storage_url(None):
                command += f" --storage {shown_url(request.storage)}"
            search(mine, as_json=as_json, command=command, collect=summaries)
    finally:
        if as_json and summaries:
            output.as_json({**summaries[-1], "parts": summaries})
