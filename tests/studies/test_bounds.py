"""Both ends of every bound make a configuration; what is just outside is refused, by file and by code."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from bloodsearch.models import Shape
from bloodsearch.search.errors import UsageError
from bloodsearch.search.sampling.space import to_config
from bloodsearch.studies import PARAMETERS, StudyFileError, Value, load_study_file

BASE: dict[str, Value] = {"optimizer": "adam", "lr": 1e-3, "sgd_lr": 0.1, "cnn_width": 16}
LARGE = Shape(size=224, channels=3, classes=8)
MODEL = {"mlp_": "mlp", "cnn_": "cnn"}


def point(name: str, value: Value) -> dict[str, Value]:
    """Return parameters under which `name` exists and has this value."""
    params = BASE | {"arch": MODEL.get(name[:4], "mlp")}
    params |= {other: values[0] for other, values in PARAMETERS[name].when.items()}
    return params | {name: value}


def inside() -> Iterator[tuple[str, Value]]:
    for name, parameter in PARAMETERS.items():
        values: tuple[Value, ...] = parameter.choices or (False, True)
        if parameter.low is not None and parameter.high is not None:
            values = (parameter.kind(parameter.low), parameter.kind(parameter.high))
        yield from ((name, value) for value in values)


def outside() -> Iterator[tuple[str, Any]]:
    for name, parameter in PARAMETERS.items():
        if parameter.low is None or parameter.high is None:
            yield name, "other"
        elif parameter.kind is int:
            yield from ((name, int(parameter.low) - 1), (name, int(parameter.high) + 1))
        else:
            yield name, math.nextafter(parameter.low, -math.inf)
            yield name, math.nextafter(parameter.high, math.inf)
            yield name, math.nan


@pytest.mark.parametrize(("name", "value"), list(inside()))
def test_an_end_of_a_bound_makes_a_configuration(name: str, value: Value) -> None:
    to_config(point(name, value), epochs=3, patience=0, shape=LARGE)


@pytest.mark.parametrize(("name", "value"), list(outside()))
def test_what_is_just_outside_is_refused(name: str, value: Any) -> None:
    assert PARAMETERS[name].problem(value)
    with pytest.raises(UsageError, match=name):
        to_config(point(name, value), epochs=3, patience=0)


NUMBERS = [
    ("search.startup_trials", 1, 10_000, 1),
    ("training.epochs", 1, 10_000, 1),
    ("training.final_epochs", 1, 10_000, 1),
    ("training.patience", 0, 10_000, 1),
    ("training.final_patience", 0, 10_000, 1),
    ("training.min_epochs", 0, 10_000, 1),
    ("training.threads", 1, 256, 1),
    ("pruner.warmup_epochs", 1, 10_000, 1),
    ("pruner.min_peers", 1, 10_000, 1),
    ("pruner.audit", 0.0, 1.0, 1e-9),
]


@pytest.mark.parametrize(("key", "low", "high", "step"), NUMBERS)
def test_both_ends_of_every_bound_of_a_study_file(
    key: str, low: float, high: float, step: float
) -> None:
    for value in (low, high):
        load_study_file("demo", [f"{key}={value}"])
    for value in (low - step, high + step):
        with pytest.raises(StudyFileError, match=key):
            load_study_file("demo", [f"{key}={value}"])
