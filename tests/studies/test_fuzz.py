"""Whatever a study file holds, it parses or ends in one line of StudyFileError."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bloodsearch.studies import PARAMETERS, Parameter, StudyFileError, load_study_file, parse_study

pytestmark = pytest.mark.slow

SETTINGS = settings(max_examples=300, deadline=None, derandomize=True, database=None)

WORDS = (
    "name search training pruner space baselines params published "
    "sampler trials epochs quantile low high log step"
)
KEYS = st.sampled_from([*PARAMETERS, *WORDS.split()]) | st.text(max_size=8)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([2**63, -(10**60), 10**400]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["mlp", "cnn", "adam", "sgd", "grid", "baselines", "none", "a" * 5_000]),
    st.dates(),
    st.binary(max_size=4),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(KEYS, inner, max_size=4),
        st.fixed_dictionaries({"low": SCALARS, "high": SCALARS}, optional={"step": SCALARS}),
    ),
    max_leaves=12,
)
SHIPPED = [load_study_file(name).model_dump(mode="json") for name in ("bloodmnist", "report_a")]


def mutate(draw: st.DrawFn, data: Any) -> Any:
    """Replace, delete or add something at a random place of nested tables and lists."""
    if not isinstance(data, dict | list) or not data or draw(st.integers(0, 7)) == 0:
        return draw(VALUES)
    keys = list(data) if isinstance(data, dict) else list(range(len(data)))
    key = draw(st.sampled_from(keys))
    what = draw(st.sampled_from(["into", "into", "into", "delete", "add"]))
    if what == "delete":
        del data[key]
    elif what == "into":
        data[key] = mutate(draw, data[key])
    elif isinstance(data, dict):
        data[draw(KEYS)] = draw(VALUES)
    else:
        data.insert(key, draw(VALUES))
    return data


@st.composite
def mutated_studies(draw: st.DrawFn) -> Any:
    data = copy.deepcopy(draw(st.sampled_from(SHIPPED)))
    for _ in range(draw(st.integers(1, 4))):
        data = mutate(draw, data)
    return data


def one_line(error: StudyFileError) -> bool:
    return str(error).isprintable() and len(str(error)) < 1500


@SETTINGS
@given(mutated_studies())
def test_a_mutated_study_parses_or_says_why_not(data: Any) -> None:
    try:
        study = parse_study(data, "mine.toml")
    except StudyFileError as error:
        refused = error
    else:
        json.dumps(study.model_dump(mode="json"), allow_nan=False)
        assert len(study.space_hash()) == 16
        return
    assert str(refused).startswith("mine.toml: ")
    assert one_line(refused)


@SETTINGS
@given(st.lists(st.tuples(KEYS, st.text(max_size=30)), min_size=1, max_size=3))
def test_any_override_applies_or_says_why_not(overrides: list[tuple[str, str]]) -> None:
    texts = [f"{prefix}{key}={value}" for key, value in overrides for prefix in ("", "space.")]
    try:
        load_study_file("demo", texts)
    except StudyFileError as error:
        refused = error
    else:
        return
    assert one_line(refused)


def value_of(parameter: Parameter) -> st.SearchStrategy[Any]:
    if parameter.choices:
        return st.sampled_from(parameter.choices)
    if parameter.kind is bool:
        return st.booleans()
    assert parameter.low is not None
    assert parameter.high is not None
    if parameter.kind is int:
        return st.integers(int(parameter.low), int(parameter.high))
    low, high = math.ceil(parameter.low), math.floor(parameter.high)
    floats = st.floats(parameter.low, parameter.high)
    return floats | st.integers(low, high) if low <= high else floats


@st.composite
def entries(draw: st.DrawFn, parameter: Parameter, *, ranges: bool) -> Any:
    shape = draw(st.sampled_from(["value", "list", "range"] if ranges else ["value", "list"]))
    if shape == "value":
        return draw(value_of(parameter))
    if shape == "list" or parameter.choices or parameter.kind is bool:
        return draw(st.lists(value_of(parameter), min_size=1, max_size=4, unique=True))
    low, high = sorted(draw(st.lists(value_of(parameter), min_size=2, max_size=2, unique=True)))
    entry = {"low": low, "high": high}
    if low > 0 and draw(st.booleans()):
        entry["log"] = True
    elif parameter.kind is int and draw(st.booleans()):
        entry["step"] = draw(st.integers(1, high - low))
    return entry


@st.composite
def valid_studies(draw: st.DrawFn) -> dict[str, Any]:
    sampler = draw(st.sampled_from(["tpe", "random", "grid", "baselines"]))
    # a grid of lists of four: 4**8 points at most, which is below MAX_GRID
    names = draw(
        st.sets(st.sampled_from(list(PARAMETERS)), max_size=4 if sampler == "grid" else 12)
    )
    names |= {"arch", "optimizer", "lr", "sgd_lr"}
    space = {
        name: draw(entries(PARAMETERS[name], ranges=sampler != "grid")) for name in sorted(names)
    }
    if {"cnn_width", "cnn_growth", "cnn_blocks"} & names:
        space["cnn_blocks"] = 2  # 1024 filters times 4: below MAX_FILTERS
    params = draw(st.sets(st.sampled_from(list(PARAMETERS)), max_size=6))
    count = draw(st.integers(1 if sampler == "baselines" else 0, 2))
    baselines = [
        {
            "name": f"b{i}",
            "params": {name: draw(value_of(PARAMETERS[name])) for name in sorted(params)},
            "published": draw(st.dictionaries(st.text(max_size=5), st.floats(0, 1), max_size=2)),
        }
        for i in range(count)
    ]
    epochs = st.integers(1, 10_000)
    return {
        "name": draw(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True)),
        "description": draw(st.text(max_size=20)),
        "search": {
            "sampler": sampler,
            "seed": draw(st.integers(0, 2**31 - 1)),
            "startup_trials": draw(epochs),
        },
        "training": {
            "epochs": draw(epochs),
            "final_epochs": draw(epochs),
            "patience": draw(st.integers(0, 10_000)),
            "min_epochs": draw(st.integers(0, 10_000)),
        },
        "pruner": {
            "name": draw(st.sampled_from(["family", "none"])),
            "quantile": draw(st.floats(0, 1, exclude_min=True, exclude_max=True)),
        },
        "space": space,
        "baselines": baselines,
    }


@SETTINGS
@given(valid_studies())
def test_a_valid_study_survives_the_way_through_a_database(data: dict[str, Any]) -> None:
    study = parse_study(data, "mine.toml")
    stored = json.loads(json.dumps(study.model_dump(mode="json"), allow_nan=False))
    again = parse_study(stored, "stored")
    assert again == study
    assert again.space_hash() == study.space_hash()
