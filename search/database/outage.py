"""A database that went away: recognized, and waited for with bounded patience."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import filelock
import optuna
import sqlalchemy as sa
import tenacity

from .. import env
from ..errors import StorageError

_log = logging.getLogger(__name__)
T = TypeVar("T")


def retry_outage(
    operation: Callable[[], T],
    *,
    limit_s: float | None = None,
    give_up: Callable[[], bool] = lambda: False,
) -> T:
    """Run `operation`, again with back-off while the database is away, at most `limit_s` seconds
    ($BLOODSEARCH_OUTAGE_S without it).

    `operation` must be safe to repeat. Raises StorageError when the time is over or `give_up()`
    says so (a signal came).
    """

    def told(state: tenacity.RetryCallState) -> None:
        if state.attempt_number == 2:
            error = state.outcome.exception() if state.outcome else None
            why = reason_of(error) if error else "no answer"
            _log.warning("the storage does not answer (%s); waiting for it", why)

    limit = env.outage_s() if limit_s is None else limit_s
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_outage),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=5),
        stop=lambda state: give_up() or tenacity.stop_after_delay(limit)(state),
        before_sleep=told,
        reraise=True,
    )
    try:
        return retrying(operation)
    except Exception as error:
        if is_outage(error):
            raise StorageError(f"the storage did not answer: {reason_of(error)}") from None
        raise


def is_outage(error: BaseException) -> bool:
    """Whether waiting may help: a lost connection, a locked file, a lock not granted."""
    if isinstance(error, optuna.exceptions.StorageInternalError | filelock.Timeout):
        return True
    return isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.TimeoutError)


def reason_of(error: BaseException) -> str:
    """The first line of the innermost database error, which says what happened."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    lines = str(getattr(cause, "orig", None) or cause).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
