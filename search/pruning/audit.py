"""The pruner's audit: a share of the trials is never pruned, to see which good trials the pruner misses."""

from __future__ import annotations

from optuna.trial import FrozenTrial, TrialState

from ...studies import StudyFile
from ..records import trial_record
from ..seeds import derive_seed

TOP = 8
"""Number of finalists by default. An audited trial among them would have been missed."""


def audited(trials: list[FrozenTrial]) -> dict[str, int]:
    """Count the audited trials among the complete ones and among the best `TOP`."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    best = sorted(complete, key=lambda trial: -(trial.value or 0.0))[:TOP]
    return {
        "n": sum(trial_record(trial).audit is not None for trial in complete),
        "mattered": sum(trial_record(trial).audit is not None for trial in best),
    }


def is_audited(study_file: StudyFile, number: int) -> bool:
    """Return whether this trial is exempt from pruning."""
    drawn = derive_seed(study_file.search.seed, "audit", number) / 2**31
    return drawn < study_file.pruner.audit
