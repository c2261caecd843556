"""What can go wrong, by exit code.

BloodsearchError (1)
    UsageError (2)      wrong usage or a bad study file
    DataError (3)       data missing or unusable
    StorageError (4)    storage unreachable or unusable
    RefusedError (5)    the request is understood and declined (test split opened before, other data, ...)
    Interrupted (130)   drained on a signal; the same command goes on

Every message is one line that says what is wrong and what to do next. The command line prints it
and exits with the code; nothing else in the project calls `sys.exit`.
"""

from __future__ import annotations


class BloodsearchError(Exception):
    """Root of all errors that a user can do something about."""

    exit_code = 1


class UsageError(BloodsearchError):
    exit_code = 2


class DataError(BloodsearchError):
    exit_code = 3


class StorageError(BloodsearchError):
    exit_code = 4


class LostStudyError(StorageError):
    """The study, or the database's file, was deleted, renamed, moved or replaced while in use."""


class RefusedError(BloodsearchError):
    exit_code = 5


class Interrupted(BloodsearchError):
    exit_code = 130
