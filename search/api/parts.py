"""Parts of a study that run separately: its baselines with replicates, and its grid."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from ...studies import StudyFile

DEFAULT_REPLICATES = 3


class Part(StrEnum):
    """A part of a study."""

    baselines = "baselines"
    grid = "grid"


def choose_parts(
    file: StudyFile, only: Part | None, trials: int | None, replicates: int | None
) -> list[Part]:
    """Return the parts to run one by one; an empty list means an ordinary search.

    Without `only` these are all parts of a study that has no budget of its own. Raises UsageError for
    options that exclude each other.
    """
    if only is Part.grid and replicates is not None:
        raise UsageError("--replicates is for baselines; each point of a grid is trained once")
    if only is not None:
        if only is Part.baselines and trials is not None:
            raise UsageError("--trials does not go with --only baselines; use --replicates")
        return [only]
    whole = file.search.sampler in ("grid", "baselines") and trials is None
    if replicates is not None and not whole:
        raise UsageError("--replicates goes with --only baselines, or a grid or baselines study")
    if not whole:
        return []
    parts = [Part.baselines] if file.baselines else []
    return parts + ([Part.grid] if file.search.sampler == "grid" else [])
