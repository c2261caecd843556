"""Check the arguments of library calls: the command line checks its own."""

from __future__ import annotations

import operator
from collections.abc import Collection

from ..errors import UsageError


def whole(name: str, value: int | None, least: int = 1) -> int | None:
    """Return `value` as an int, None for None. Raises UsageError unless it is a whole number >= `least`."""
    if value is None:
        return None
    try:
        number = operator.index(value)  # NumPy's integers have no JSON
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise UsageError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return number


def required(name: str, value: int, least: int = 1) -> int:
    """Return `value` as an int. Raises UsageError unless it is a whole number of at least `least`."""
    number = whole(name, value, least)
    if number is None:
        raise UsageError(f"{name} must be a whole number of at least {least}, got None")
    return number


def one_of(name: str, value: str, allowed: Collection[str]) -> None:
    """Raise UsageError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise UsageError(f"{name} {value!r}: use {' or '.join(allowed)}")
