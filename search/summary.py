"""A study in one dictionary, with the fields of `optimize --json` and `status --json`."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.trial import TrialState

from .database.storage import Storage
from .evaluation.ladder import rung_rows
from .pruning.audit import audited
from .records import best_trial, trial_record, trial_seconds
from .study import info
from .workers.leases import Leases


def summarize(storage: Storage, study: optuna.Study) -> dict[str, Any]:
    """Return counts by state, the best complete trial, and the seconds that finished trials took."""
    counts = Leases(storage, study).counts()
    trials = study.get_trials(deepcopy=False)
    best = best_trial(trials)
    stored = info(study)
    return {
        "study": study.study_name,
        "storage": storage.shown,
        "dataset": stored.fingerprint.dataset,
        "provenance": stored.fingerprint.provenance,
        "n_trials": stored.n_trials,
        "complete": counts[TrialState.COMPLETE],
        "pruned": counts[TrialState.PRUNED],
        "failed": counts[TrialState.FAIL],
        "running": counts[TrialState.RUNNING],
        "waiting": counts[TrialState.WAITING],
        "audited": audited(trials),
        "best_value": best.value if best else None,
        "best_trial": best.number if best else None,
        "best_params": trial_record(best).shown_params if best else None,
        "seconds": round(
            sum(trial_seconds(trial) for trial in trials if trial.state.is_finished()), 2
        ),
        "ladder": rung_rows(storage, study),
    }
