"""Errors that a user can do something about, by exit code.

BloodsearchError (1)
    UsageError (2)      wrong usage or a bad study file
    DataError (3)       data missing or unusable
    StorageError (4)    storage unreachable or unusable
    RefusedError (5)    the request is understood and declined (test split opened before, other data, ...)
    Interrupted (130)   stopped by a signal; run the same command again to resume

Every message is one line that says what is wrong and what to do next. The command line prints it and exits
with the code. Nothing else in the project calls `sys.exit`.
"""

from __future__ import annotations


class BloodsearchError(Exception):
    """The root of all these errors."""

    exit_code = 1


class UsageError(BloodsearchError):
    """The command was used wrongly, or a study file is invalid."""

    exit_code = 2


class DataError(BloodsearchError):
    """Images, checkpoints or weights are missing or unusable."""

    exit_code = 3


class StorageError(BloodsearchError):
    """The database is unreachable, unusable, or lacks the study."""

    exit_code = 4


class LostStudyError(StorageError):
    """The study, or the database's file, was deleted, renamed, moved or replaced while in use."""


class RefusedError(BloodsearchError):
    """The request is understood and declined, to protect a result."""

    exit_code = 5


class Interrupted(BloodsearchError):
    """A signal, or `bloodsearch stop`, ended the work before it was done."""

    exit_code = 130
