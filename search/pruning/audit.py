"""The pruner's audit: a share of the trials runs to its end whatever the pruner says."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

from ...studies import StudyFile
from ..records import trial_record
from ..seeds import derive_seed

TOP = 8
"""As many trials go into the choice of a winner by default: an audited one among them was nearly missed."""


def audited(trials: list[FrozenTrial]) -> dict[str, int]:
    """How many complete trials the pruner would have stopped, and how many of the best `TOP` are such."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    best = sorted(complete, key=lambda trial: -(trial.value or 0.0))[:TOP]
    return {
        "n": sum(trial_record(trial).audit is not None for trial in complete),
        "mattered": sum(trial_record(trial).audit is not None for trial in best),
    }


def is_audited(study_file: StudyFile, number: int) -> bool:
    """Whether this trial runs to its end whatever the pruner says, to see what the pruner misses."""
    drawn = derive_seed(study_file.search.seed, "audit", number) / 2**31
    return drawn < study_file.pruner.audit
