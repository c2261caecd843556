"""Say why all workers of a supervisor ended although the study's budget is not spent."""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.trial import TrialState

from ..database.outage import retry_outage
from ..errors import (
    BloodsearchError,
    DataError,
    Interrupted,
    RefusedError,
    StorageError,
    UsageError,
)
from ..records import trial_record
from ..study import last_ended
from .leases import Leases

STOPPED = "drained by `bloodsearch stop`; run the same command again to resume"


def check_budget(leases: Leases, n_trials: int | None, codes: Sequence[int | None]) -> None:
    """Raise the reason why all workers ended, unless the budget is spent.

    Args:
        leases: The study's leases.
        n_trials: The study's total of finished trials; None for the total of the last `optimize`.
        codes: The exit codes with which the workers ended for good.
    """
    if all(code == 0 for code in codes):
        return
    retry_outage(leases.check_study, limit_s=5)
    counts = retry_outage(leases.counts, limit_s=5)
    n_trials = n_trials or leases.study.user_attrs.get("n_trials", 0)
    n_finished = counts[TrialState.COMPLETE] + counts[TrialState.PRUNED]
    if n_finished >= n_trials:
        return
    if Interrupted.exit_code in codes:
        raise Interrupted(STOPPED)
    if StorageError.exit_code in codes:
        raise StorageError("the workers lost the storage; run the same command again to resume")
    for kind in (UsageError, DataError, RefusedError):
        if all(code == kind.exit_code for code in codes):
            raise kind("no worker could start, see the messages above")
    raise BloodsearchError(
        f"all workers stopped early with {n_finished} of {n_trials} trials finished; "
        f"{_last_error(leases.study)}; run the same command again to resume"
    )


def _last_error(study: optuna.Study) -> str:
    last = last_ended(study, (TrialState.FAIL,))
    if last is None:
        return "see the messages above"
    return f"the last error, in trial {last.number}: {trial_record(last).stop_reason}"
