"""The schema: what it accepts, what it refuses in which words, and what a study's identity is."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from tests_support import tiny_study

from bloodsearch.studies import PARAMETERS, StudyFile, StudyFileError, parse_study
from bloodsearch.studies.schema import MAX_CHOICES
from bloodsearch.studies.sections import Baseline, Pruner, Range, Search, Training

BASE = """
name = "base"
description = "a study with every key"
[search]
sampler = "tpe"
startup_trials = 4
seed = 1
trials = 9
[training]
epochs = 3
final_epochs = 5
patience = 1
final_patience = 2
[pruner]
name = "family"
warmup_epochs = 2
min_peers = 3
quantile = 0.25
[space]
arch = ["mlp", "cnn"]
optimizer = "adam"
lr = { low = 1e-4, high = 1e-2, log = true }
shift = { low = 0, high = 4, step = 2 }
mlp_width = [32, 64]
[[baselines]]
name = "first"
params = { arch = "mlp", optimizer = "adam", lr = 1e-3 }
published = { macro_f1 = 0.5 }
"""


def base() -> dict[str, Any]:
    return tomllib.loads(BASE)


def put(data: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy of `data` with the dotted `path` set."""
    data = copy.deepcopy(data)
    at: Any = data
    *parents, last = path.split(".")
    for part in parents:
        at = at[int(part)] if part.isdigit() else at[part]
    at[last] = value
    return data


def refusal(data: dict[str, Any]) -> str:
    with pytest.raises(StudyFileError) as caught:
        parse_study(data, "mine.toml")
    message = str(caught.value)
    assert message.startswith("mine.toml: ")
    assert "\n" not in message
    return message


# One changed value for every key there is.
CHANGES: dict[str, object] = {
    "search.sampler": "random",
    "search.startup_trials": 5,
    "search.seed": 2,
    "search.max_params": 1000,
    "search.max_latency_ms": 1.5,
    "training.epochs": 4,
    "training.final_epochs": 6,
    "training.patience": 0,
    "training.final_patience": 0,
    "training.min_epochs": 3,
    "training.cuda_graph": True,
    "training.mlp_epochs": 3,
    "training.mlp_final_epochs": 3,
    "training.threads": 2,
    "search.folds": 4,
    "pruner.name": "none",
    "pruner.warmup_epochs": 3,
    "pruner.mlp_warmup_epochs": 3,
    "pruner.min_peers": 4,
    "pruner.quantile": 0.5,
    "pruner.chance": 0.2,
    "pruner.top": 0.3,
    "pruner.audit": 0.5,
    "space.arch": ["mlp"],
    "space.optimizer": "adamw",
    "space.lr.low": 2e-4,
    "space.lr.high": 2e-2,
    "space.lr.log": False,
    "space.shift.step": 1,
    "space.mlp_width": [64, 32],
    "space.mlp_depth": 1,
    "baselines.0.name": "second",
    "baselines.0.params.lr": 2e-3,
    "baselines.0.params.mlp_depth": 1,
    "baselines.0.published.macro_f1": 0.6,
}
NO_IDENTITY: dict[str, object] = {
    "name": "other",
    "dataset": "pathmnist@64",
    "description": "other",
    "search.trials": 10,
    "ladder": {"finalists": 2},
    "minutes": {"cnn_widths": [8]},
}


def test_a_forecast_cannot_compare_trainings_of_searched_lengths() -> None:
    data = put(put(base(), "pruner.name", "forecast"), "space.epochs", [3, 6])
    assert "space.epochs: the forecast compares trainings of one length" in refusal(data)
    parse_study(put(data, "pruner.name", "family"), "mine.toml")


def test_the_changes_name_every_key_of_every_section() -> None:
    sections: dict[str, type[BaseModel]] = {
        "search": Search,
        "training": Training,
        "pruner": Pruner,
        "baselines.0": Baseline,
        "": StudyFile,
    }
    changed = [*CHANGES, *NO_IDENTITY]
    for prefix, section in sections.items():
        for key in section.model_fields:
            path = f"{prefix}.{key}".lstrip(".")
            assert any(f"{name}.".startswith(f"{path}.") for name in changed), path
    for key in Range.model_fields:
        assert {f"space.lr.{key}", f"space.shift.{key}"} & set(changed), key


@pytest.mark.parametrize("path", CHANGES)
def test_space_hash_changes_with(path: str) -> None:
    before, after = parse_study(base(), "x"), parse_study(put(base(), path, CHANGES[path]), "x")
    assert before.identity() != after.identity()
    assert before.space_hash() != after.space_hash()


@pytest.mark.parametrize("path", NO_IDENTITY)
def test_space_hash_does_not_change_with(path: str) -> None:
    before, after = parse_study(base(), "x"), parse_study(put(base(), path, NO_IDENTITY[path]), "x")
    assert before != after
    assert before.space_hash() == after.space_hash()


def test_space_hash_is_sixteen_hexadecimal_digits_and_ignores_the_order_of_keys() -> None:
    data = base()
    turned = {key: data[key] for key in reversed(data)}
    turned["space"] = {key: data["space"][key] for key in reversed(data["space"])}
    digest = parse_study(data, "x").space_hash()
    assert digest == parse_study(turned, "x").space_hash()
    assert len(digest) == 16
    assert int(digest, 16) >= 0


def test_a_study_is_frozen() -> None:
    study = parse_study(base(), "x")
    with pytest.raises(ValidationError, match="frozen"):
        study.name = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        study.training.epochs = 7  # type: ignore[misc]


NAN, INF = float("nan"), float("inf")
# Where, with what, and the words that the message must hold: the key, then what is allowed.
REFUSED: list[tuple[str, object, tuple[str, ...]]] = [
    ("training.epochs", "5", ("training.epochs", "integer")),
    ("training.epochs", 5.0, ("training.epochs", "integer")),
    ("training.epochs", True, ("training.epochs", "integer")),
    ("training.epochs", 0, ("training.epochs", "greater than or equal to 1")),
    ("training.epochs", 10**400, ("training.epochs", "less than or equal to 10000")),
    ("training.epoch", 5, ("training.epoch", "final_epochs")),
    ("training", 3, ("training", "a table", "got 3")),
    ("trainings", {}, ("trainings", "training")),
    ("search.trials", 0, ("search.trials", "greater than or equal to 1")),
    ("search.seed", -1, ("search.seed", "greater than or equal to 0")),
    ("search.sampler", "tpee", ("search.sampler", "'tpe', 'random', 'grid' or 'baselines'")),
    ("pruner.quantile", NAN, ("pruner.quantile", "less than 1")),
    ("pruner.quantile", 1, ("pruner.quantile", "less than 1")),
    ("pruner.quantile", 0, ("pruner.quantile", "greater than 0")),
    ("name", "", ("name", "at least 1 character")),
    ("name", "a/b", ("name", "pattern")),
    ("name", "a\n", ("name", "pattern")),
    ("space", [], ("space", "a table")),
    ("space.learning_rate", 1, ("space.learning_rate", "no such parameter", "lr, sgd_lr")),
    ("space.lr", [], ("space.lr", "at least one value")),
    ("space.lr", [1e-3, 1e-3], ("space.lr", "twice")),
    ("space.lr", [1, 1.0], ("space.lr", "twice")),
    ("space.lr", NAN, ("space.lr", "nan", "1e-07 .. 10")),
    ("space.lr", INF, ("space.lr", "inf", "1e-07 .. 10")),
    ("space.lr", -INF, ("space.lr", "-inf", "1e-07 .. 10")),
    ("space.lr", 10**400, ("space.lr", "1e-07 .. 10")),
    ("space.lr", "fast", ("space.lr", '"fast"', "1e-07 .. 10")),
    ("space.lr", True, ("space.lr", "true", "a number in 1e-07 .. 10")),
    ("space.lr", [[1]], ("space.lr.0", "a number")),
    ("space.lr", None, ("space.lr", "a range {low, high, log, step}")),
    ("space.lr", {"low": 1e-3}, ("space.lr.high", "required")),
    ("space.lr", {"low": 1e-3, "high": 1, "hihg": 1}, ("space.lr.hihg", "low, high, log, step")),
    ("space.lr", {"low": 1, "high": 1}, ("space.lr", "low 1 must be below high 1")),
    ("space.lr", {"low": 1, "high": 1e-3}, ("space.lr", "low 1 must be below high 0.001")),
    ("space.lr", {"low": NAN, "high": 1}, ("space.lr", "nan", "1e-07 .. 10")),
    ("space.lr", {"low": 1e-3, "high": INF}, ("space.lr", "inf", "1e-07 .. 10")),
    ("space.lr", {"low": 1e-3, "high": 1, "step": NAN}, ("space.lr", "step nan", "above 0")),
    ("space.lr", {"low": 1e-3, "high": 1, "step": 2}, ("space.lr", "step 2", "fit the range")),
    ("space.lr", {"low": 1e-3, "high": 1, "step": 10**400}, ("space.lr", "step", "fit the range")),
    ("space.lr", {"low": True, "high": 1}, ("space.lr.low", "a number", "got true")),
    ("space.shift", {"low": 0, "high": 4, "log": True}, ("space.shift", "low above 0")),
    ("space.shift", {"low": 1, "high": 4, "log": True, "step": 1}, ("space.shift", "exclude")),
    ("space.shift", {"low": 0, "high": 4, "step": 0.5}, ("space.shift", "not an integer")),
    ("space.shift", {"low": 0.0, "high": 4}, ("space.shift", "an integer in 0 .. 8")),
    ("space.shift", 9, ("space.shift", "9 is not an integer in 0 .. 8")),
    ("space.loss", {"low": 0, "high": 1}, ("space.loss", '"nll"', "not a range")),
    ("space.loss", "mse", ("space.loss", '"mse" is not one of "cross_entropy"')),
    ("space.cnn_norm", 1, ("space.cnn_norm", "true or false")),
    ("space.cnn_norm", {"low": 0, "high": 1}, ("space.cnn_norm", "true or false, not a range")),
    ("space.cnn_kernel", 4, ("space.cnn_kernel", "4 is not one of 3, 5, 7")),
    ("space.cnn_kernel", {"low": 3, "high": 7}, ("space.cnn_kernel", "3, 5, 7, not a range")),
    ("space.mlp_width", list(range(1, MAX_CHOICES + 2)), ("space.mlp_width", "at most 1000")),
    ("space.optimizer", ["adam", "sgd"], ("space.sgd_lr", "missing", "1e-07 .. 100")),
    ("baselines", 3, ("baselines", "a list")),
    ("baselines.0.params.lr", "x", ("baselines.first.params.lr", "1e-07 .. 10")),
    ("baselines.0.params.lrr", 1, ("baselines.first.params.lrr", "no such parameter", "lr,")),
    ("baselines.0.params.lr", [1], ("baselines.0.params.lr", "a number")),
    ("baselines.0.published.macro_f1", NAN, ("baselines.0.published.macro_f1", "finite")),
    ("baselines.0.name", "a b", ("baselines.0.name", "pattern")),
]


@pytest.mark.parametrize(("path", "value", "words"), REFUSED)
def test_refused_with_the_key_and_what_is_allowed(
    path: str, value: object, words: tuple[str, ...]
) -> None:
    message = refusal(put(base(), path, value))
    for word in words:
        assert word in message


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_names_itself_and_what_it_takes(name: str) -> None:
    message = refusal(put(base(), f"space.{name}", "no such value"))
    assert f"space.{name}: " in message
    assert PARAMETERS[name].allowed() in message


@pytest.mark.parametrize("name", PARAMETERS)
def test_defaults_and_bounds_of_every_parameter_are_values_of_it(name: str) -> None:
    parameter = PARAMETERS[name]
    assert parameter.help
    for value in (parameter.default, *parameter.choices):
        assert value is None or parameter.problem(value) is None
    if parameter.low is not None and parameter.high is not None:
        for bound in (parameter.low, parameter.high):
            assert parameter.problem(parameter.kind(bound)) is None
        assert parameter.problem(parameter.kind(parameter.high + 1))
        assert parameter.problem(parameter.low - 1)
    # conditions name parameters that come earlier, and values that these can have
    for other, values in parameter.when.items():
        assert list(PARAMETERS).index(other) < list(PARAMETERS).index(name)
        assert all(PARAMETERS[other].problem(value) is None for value in values)


@pytest.mark.parametrize("missing", ["arch", "optimizer", "lr"])
def test_a_space_without_a_needed_parameter_is_refused(missing: str) -> None:
    data = base()
    del data["space"][missing]
    message = refusal(data)
    assert f"space.{missing}: missing" in message
    assert PARAMETERS[missing].allowed() in message


@pytest.mark.parametrize(
    "missing", ["name", "training", "training.epochs", "training.final_epochs"]
)
def test_a_missing_key_is_named(missing: str) -> None:
    data = base()
    *parents, last = missing.split(".")
    del (data[parents[0]] if parents else data)[last]
    assert f"{missing}: field required" in refusal(data)


def test_a_grid_takes_lists_only_and_not_too_many_points() -> None:
    data = put(base(), "search.sampler", "grid")
    assert "a grid needs a list" in refusal(data)
    data["space"] |= {"lr": [1e-3, 1e-4], "shift": [0, 1]}
    assert parse_study(data, "x").grid_size() == 2 * 2 * 2 * 2
    data["space"] |= {"batch_size": list(range(2, 1000)), "epochs": list(range(1, 1000))}
    assert "a grid of 15952032 points; at most 100000" in refusal(data)


def test_a_network_wider_than_any_model_may_be_is_refused() -> None:
    data = base()
    data["space"] |= {"cnn_width": [32, 1024], "cnn_growth": 2.0, "cnn_blocks": 4}
    assert parse_study(data, "x")  # 1024 * 2**3 = 8192
    data["space"]["cnn_growth"] = {"low": 1.0, "high": 2.1}
    assert "space.cnn_width" in (message := refusal(data))
    assert "at most 8192" in message


@pytest.mark.parametrize(
    ("name", "entry", "ends"),
    [
        ("shift", 0, (0, 0)),
        ("mlp_depth", 0, (0, 0)),
        ("rotate", None, (0, 0)),  # a default of 0
        ("shift", [0, 3], (0, 3)),
        ("mlp_width", None, (1024, 1024)),
    ],
)
def test_the_ends_of_a_fixed_value_are_that_value(
    name: str, entry: object, ends: tuple[float, float]
) -> None:
    data = base()
    data["space"].pop(name, None)
    study = parse_study(data if entry is None else put(data, f"space.{name}", entry), "base")
    assert (study.least(name), study.largest(name)) == ends


def test_baselines_alone_need_a_baseline_and_no_space() -> None:
    data = put(base(), "search.sampler", "baselines")
    del data["space"]
    assert parse_study(data, "x").space == {}
    data["baselines"] = []
    assert "needs at least one" in refusal(data)


def test_two_baselines_of_one_name_are_refused() -> None:
    data = base()
    data["baselines"] *= 2
    assert "'first' occurs twice" in refusal(data)


def deep(levels: int, wrap: Callable[[object], object]) -> object:
    value: object = 1
    for _ in range(levels):
        value = wrap(value)
    return value


@pytest.mark.parametrize("levels", [50, 5_000])
@pytest.mark.parametrize("wrap", [lambda v: [v], lambda v: {"a": v}], ids=["lists", "tables"])
@pytest.mark.parametrize("path", ["space.lr", "description", "extra", "baselines.0.params.lr"])
def test_deep_nesting_is_refused(path: str, wrap: Callable[[object], object], levels: int) -> None:
    refusal(put(base(), path, deep(levels, wrap)))


@pytest.mark.parametrize("name", ["a" * 10_000, "two\nlines", "\x1b[31m", "\u2028", ""])
def test_hostile_keys_and_values_stay_on_one_short_printable_line(name: str) -> None:
    for path in ("space", "training", "baselines.0.params"):
        for data in (put(base(), f"{path}.{name}", 1), put(base(), "space.loss", name)):
            message = refusal(data)
            assert message.isprintable()
            assert len(message) < 1100


LADDER = {"rungs": [{"epochs": 6, "trials": 5}, {"epochs": 9, "trials": 3}], "finalists": 2}


def test_rungs_that_are_no_longer_than_a_trial_are_left_out() -> None:
    def epochs(**training: int) -> list[object]:
        return [rung.epochs for rung in tiny_study(training=training, ladder=LADDER).rungs()]

    assert epochs(epochs=3, final_epochs=12) == [6, 9]
    assert epochs(epochs=6, final_epochs=12) == [9]
    assert epochs(epochs=3, final_epochs=9) == [6]
    assert epochs(epochs=12, final_epochs=12) == []
    assert tiny_study().rungs() == ()


@pytest.mark.parametrize(
    ("ladder", "words"),
    [
        ({"rungs": [{"epochs": 6, "trials": 3}], "finalists": 4}, "no rung may train more"),
        ({"rungs": [{"epochs": {"cnn": 6}, "trials": 3}], "finalists": 2}, "epochs.mlp: missing"),
        ({"rungs": [{"epochs": 6}]}, "trials"),
        ({"finalists": 0}, "finalists"),
        ({"height": 3}, "ladder.height: unknown key"),
        (
            {"params": {"rotat": 9.0}},
            "ladder.params.rotat: no such parameter .did you mean .rotate",
        ),
        ({"params": {"rotate": 200.0}}, "ladder.params.rotate: 200.0 is not a number in 0 .. 180"),
    ],
)
def test_a_bad_ladder_is_one_line(ladder: dict[str, object], words: str) -> None:
    with pytest.raises(StudyFileError, match=words):
        tiny_study(ladder=ladder)
