"""Learning-rate schedules."""

from __future__ import annotations

import math

from ...models.fields import ScheduleName

WARMUP_SHARE = 0.3
"""Share of a one-cycle schedule in which the learning rate rises (Smith & Topin 2017; torch's default)."""


START_SHARE, END_SHARE = 1 / 25, 1e-5
"""First and last learning rate of a one-cycle schedule, as shares of its peak."""


def lr_factor(schedule: ScheduleName, progress: float) -> float:
    """Return the learning rate as a share of its peak, at `progress` in [0, 1] of the training steps."""
    if schedule == "constant":
        return 1.0
    if schedule == "cosine":
        return _cosine(1.0, END_SHARE, progress)
    if progress < WARMUP_SHARE:
        return _cosine(START_SHARE, 1.0, progress / WARMUP_SHARE)
    return _cosine(1.0, END_SHARE, (progress - WARMUP_SHARE) / (1 - WARMUP_SHARE))


def _cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2
