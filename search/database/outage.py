"""Detect database outages and retry with back-off, up to a time limit."""

from __future__ import annotations

import errno
import logging
import math
import time
from collections.abc import Callable
from typing import TypeVar

import filelock
import optuna
import sqlalchemy as sa
import tenacity

from .. import env
from ..errors import StorageError

WARN_EVERY_S = 60.0
"""Seconds between two warnings of one process. Many workers on a full server wait several times a minute."""

_log = logging.getLogger(__name__)
T = TypeVar("T")


class _Warnings:
    """Warns of outages, at most once in WARN_EVERY_S."""

    def __init__(self) -> None:
        self.warned_at = -math.inf

    def __call__(self, state: tenacity.RetryCallState) -> None:
        """Warn before the second attempt waits: the first one's failure is often over at once."""
        if state.attempt_number != 2 or time.monotonic() - self.warned_at < WARN_EVERY_S:
            return
        self.warned_at = time.monotonic()
        error = state.outcome.exception() if state.outcome else None
        why = reason_of(error) if error else "no answer"
        _log.warning("the storage does not answer (%s); waiting for it", why)


_warn = _Warnings()

READ_ONLY = "25006"
"""SQLSTATE read_only_sql_transaction: a failover is under way, or an administrator's switch."""
_TEMPORARY = {
    READ_ONLY,
    "25P03",  # idle_in_transaction_session_timeout: this process was suspended
    "25P04",  # transaction_timeout
}
"""SQLSTATEs worth waiting for that drivers class as internal errors, not as operational ones."""


def retry_outage(
    operation: Callable[[], T],
    *,
    limit_s: float | None = None,
    give_up: Callable[[], bool] = lambda: False,
) -> T:
    """Run `operation`; retry it with back-off while the database is unavailable.

    `operation` must be safe to repeat. Raises StorageError after `limit_s` seconds (default:
    $BLOODSEARCH_OUTAGE_S), or when `give_up()` returns true because a signal came.
    """

    limit = env.outage_s() if limit_s is None else limit_s
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_outage),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=5),
        stop=lambda state: give_up() or tenacity.stop_after_delay(limit)(state),
        before_sleep=_warn,
        reraise=True,
    )
    try:
        return retrying(operation)
    except Exception as error:
        if is_outage(error):
            raise StorageError(f"the storage did not answer: {reason_of(error)}") from None
        raise


def is_outage(error: BaseException) -> bool:
    """Return whether waiting may help: a lost connection, a lock, a read-only database, a full disk."""
    if isinstance(error, optuna.exceptions.StorageInternalError | filelock.Timeout):
        return True
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    if isinstance(error, sa.exc.OperationalError | sa.exc.InterfaceError | sa.exc.TimeoutError):
        return True
    return (
        isinstance(error, sa.exc.InternalError)
        and getattr(error.orig, "sqlstate", None) in _TEMPORARY
    )


def is_read_only(error: BaseException) -> bool:
    """Return whether PostgreSQL refused a write because the database accepts reads only."""
    return getattr(getattr(error, "orig", None), "sqlstate", None) == READ_ONLY


def reason_of(error: BaseException) -> str:
    """Return the first line of the innermost database error, at most 200 characters."""
    cause = getattr(error, "orig", None) or error.__cause__ or error
    lines = str(getattr(cause, "orig", None) or cause).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
