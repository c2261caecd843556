"""Check a decoded study file and describe its first problem in one line.

    study = load_study_file("bloodmnist", overrides=["training.epochs=5"])

Every problem is raised as a StudyFileError: one line with the file, the key and the allowed values.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import ValidationError

from .parameters import PARAMETERS, shown
from .schema import SECTIONS, StudyFile
from .sections import NUMBER, TABLE, Range
from .spelling import did_you_mean

MAX_MESSAGE = 1000


class StudyFileError(ValueError):
    """A study file cannot be used. The message is one printable line, whatever the file contains."""

    def __init__(self, message: str) -> None:
        line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
        super().__init__(line if len(line) <= MAX_MESSAGE else line[:MAX_MESSAGE] + " ...")


def parse_study(data: dict[str, Any], source: str) -> StudyFile:
    """Return the checked study of a decoded TOML file or a stored one; `source` names it in errors.

    Raises StudyFileError.
    """
    try:
        return StudyFile.model_validate(_with_tuples(data))
    except ValidationError as error:
        raise StudyFileError(f"{source}: {_first_problem(error)}") from None
    except RecursionError:
        raise StudyFileError(f"{source}: tables or lists nested too deeply") from None


def _with_tuples(data: Any) -> Any:
    """Turn lists into tuples, which the frozen models hold."""
    if isinstance(data, dict):
        return {key: _with_tuples(value) for key, value in data.items()}
    if isinstance(data, list):
        return tuple(_with_tuples(value) for value in data)
    return data


def _first_problem(error: ValidationError) -> str:
    """Describe the most specific problem in one line: the key, the problem, the allowed values."""
    problems = error.errors(include_url=False)
    # An entry of the space may have several shapes, and pydantic reports a problem for each. The deepest
    # location belongs to the shape that was meant.
    problem = max(problems, key=lambda p: len(p["loc"]))
    parts = [
        str(part)
        for part in problem["loc"]
        if part not in (NUMBER, TABLE) and not str(part).startswith(("tuple", "Range"))
    ]
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return message
    if problem["type"] == "extra_forbidden":
        key = ".".join(parts)
        known = ", ".join(_known_keys(problem["loc"]))
        return f"{key}: unknown key{_hint(key)}; known here: {known}"
    if parts[-1:] and parts[-1] in _TYPES:  # one of several types that a value may have
        parts.pop()
        message = f"should be {_SCALAR if parts[-1] not in Range.model_fields else 'a number'}"
    if parts[:1] == ["space"] and len(parts) == 2:
        message = f"should be {_SCALAR}, a list of those or a range {{low, high, log, step}}"
    message = re.sub(" or instance of [A-Z][a-z]+", "", message[0].lower() + message[1:])
    message = message.replace("valid tuple", "list").replace("valid dictionary", "table")
    got = "" if problem["type"] == "missing" else f", got {shown(problem['input'])}"
    return f"{'.'.join(parts) or 'file'}: {message}{got}"


_TYPES = ("bool", "int", "float", "str")
_SCALAR = "a number, a string, true or false"


def _hint(key: str) -> str:
    """Name the key that was probably meant: one whose table is missing, or a similar one."""
    tables = {name: SECTIONS[name].model_fields for name in ("training", "search", "pruner")}
    for table, fields in (tables | {"space": PARAMETERS}).items():
        if key in fields:
            return f" (did you mean '{table}.{key}'?)"
    nested = (f"{table}.{name}" for table, fields in tables.items() for name in fields)
    return did_you_mean(key, [*StudyFile.model_fields, *nested])


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    section = SECTIONS.get(str(location[0]), StudyFile) if len(location) > 1 else StudyFile
    return list(section.model_fields)
