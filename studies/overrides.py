"""Overrides of a study file: `--set KEY=VALUE`, or a dictionary in Python."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from .parsing import StudyFileError
from .sections import BY_FAMILY

Overrides = Iterable[str] | Mapping[str, Any]
"""["training.epochs=5"] or {"training.epochs": 5}."""


def apply_overrides(data: dict[str, Any], overrides: Overrides | None) -> None:
    """Change the decoded study file `data`. Raises StudyFileError for an override of another form."""
    if isinstance(overrides, str):
        overrides = [overrides]
    if isinstance(overrides, Mapping):
        for key, value in overrides.items():
            _set(data, str(key), value, f"override {key}")
        return
    for override in overrides or ():
        _apply(data, override)


def override_keys(overrides: Overrides | None) -> list[str]:
    """Return the dotted keys that `overrides` set."""
    if isinstance(overrides, Mapping):
        return [str(key) for key in overrides]
    texts = [overrides] if isinstance(overrides, str) else overrides or ()
    return [text.partition("=")[0].strip() for text in texts]


def _apply(data: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    parts = key.strip().split(".")
    if not separator or not all(parts):
        raise StudyFileError(f"--set {override}: use KEY=VALUE, e.g. --set training.epochs=5")
    try:
        override.encode()
    except UnicodeEncodeError:  # bytes of the command line that are no text of its encoding
        raise StudyFileError(f"--set {override}: not UTF-8 text") from None
    value: Any = text.strip()
    try:
        parsed = tomllib.loads(f"value = {value}")
        if len(parsed) == 1:  # else the text holds further lines with keys of their own
            value = parsed["value"]
    except (ValueError, RecursionError):  # ValueError: no TOML, or an integer of 5000 digits
        if value.startswith(("[", "{")):
            raise StudyFileError(
                f"--set {key.strip()}: {value[:60]} is not a list or table of TOML; "
                "close its brackets and quote it, e.g. --set 'space.lr=[0.001, 0.01]'"
            ) from None
    _set(data, key.strip(), value, f"--set {override}")


def _set(data: dict[str, Any], key: str, value: object, source: str) -> None:
    *tables, last = key.split(".")
    for part in tables:
        data = data.setdefault(part, {})
        if not isinstance(data, dict):
            raise StudyFileError(f"{source}: {part} is not a table")
    by_family = last in BY_FAMILY and tables != ["space"]
    data[last] = _merged(data.get(last), value) if by_family else value


def _merged(table: object, value: object) -> object:
    """Return the value of a key by family after an override: one number sets every family of a table."""
    if not isinstance(table, dict) or len(table) < 2 or type(value) is not int:
        return value
    return dict.fromkeys(table, value)


def read_as_before(overrides: Overrides | None) -> Overrides | None:
    """Return overrides that mean what `overrides` meant when MLPs had keys of their own.

    One number then left the epochs of MLPs as they were. Returns None if no override has another meaning now.
    """
    keys = override_keys(overrides)
    if isinstance(overrides, Mapping):
        before = [_before(str(key), type(value) is int) for key, value in overrides.items()]
        return None if before == keys else dict(zip(before, overrides.values(), strict=True))
    texts = [overrides] if isinstance(overrides, str) else overrides or ()
    parts = [text.partition("=") for text in texts]
    before = [
        _before(key, text.strip().isdecimal())
        for key, (_, _, text) in zip(keys, parts, strict=True)
    ]
    if before == keys:
        return None
    return [f"{key}={text}" for key, (_, _, text) in zip(before, parts, strict=True)]


def _before(key: str, is_number: bool) -> str:
    *tables, last = key.split(".")
    return f"{key}.cnn" if is_number and last in BY_FAMILY and tables != ["space"] else key
