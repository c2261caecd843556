"""Overrides of a study file: `--set KEY=VALUE`."""

from __future__ import annotations

import contextlib
import tomllib
from typing import Any

from .parsing import StudyFileError


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
    # ValueError: no TOML, or an integer of 5000 digits
    with contextlib.suppress(ValueError, RecursionError):
        parsed = tomllib.loads(f"value = {value}")
        if len(parsed) == 1:  # else the text holds further lines with keys of their own
            value = parsed["value"]
    for part in parts[:-1]:
        data = data.setdefault(part, {})
        if not isinstance(data, dict):
            raise StudyFileError(f"--set {override}: {part} is not a table")
    data[parts[-1]] = value
