"""How a claimed trial ends. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import TrialState


class LostLease(Exception):
    """The worker no longer holds the trial."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended: its final state, its value if complete, and the attributes to store."""

    state: TrialState
    value: float | None
    attrs: dict[str, Any]
    checkpoint: Path | None = None
    """The trial's checkpoint, to be removed once this outcome is stored and not before."""
