"""From search parameters to a training configuration: the only file that names a search parameter.

    params = suggest(trial, study_file)        # every parameter, before anything can prune
    config = to_config(params, epochs=..., patience=...)

A parameter that the study file fixes is not suggested and is not stored as an Optuna parameter; it
is in the resolved configuration.
"""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import ValidationError

from ...models.config import CNNConfig, MLPConfig
from ...studies import PARAMETERS, Baseline, Entry, Range, StudyFile, Value
from ..errors import UsageError
from ..training.config import LossConfig, OptimizerConfig, TrialConfig

Params = dict[str, Value]


def distribution(name: str, entry: Entry) -> BaseDistribution | None:
    """The Optuna distribution of a space's entry, None for a fixed value."""
    if isinstance(entry, Range):
        if PARAMETERS[name].kind is int:
            return IntDistribution(
                int(entry.low), int(entry.high), log=entry.log, step=int(entry.step or 1)
            )
        return FloatDistribution(
            entry.low, entry.high, log=entry.log, step=None if entry.step is None else entry.step
        )
    if not isinstance(entry, tuple) or len(entry) == 1:
        return None
    values = tuple(_cast(name, value) for value in entry)
    return CategoricalDistribution(values)


def suggest(trial: optuna.trial.BaseTrial, study: StudyFile) -> Params:
    """Sample every parameter that exists for this trial, fixed ones and defaults included."""
    params: Params = {}
    for name in PARAMETERS:
        if name not in study.space or not _exists(name, params):
            continue
        entry = study.space[name]
        found = distribution(name, entry)
        if found is None:
            params[name] = _cast(name, _fixed(entry))
        else:
            params[name] = _suggest(trial, name, found)
    return params


def _suggest(trial: optuna.trial.BaseTrial, name: str, found: BaseDistribution) -> Value:
    if isinstance(found, FloatDistribution):
        return trial.suggest_float(name, found.low, found.high, step=found.step, log=found.log)
    if isinstance(found, IntDistribution):
        return trial.suggest_int(name, found.low, found.high, step=found.step, log=found.log)
    assert isinstance(found, CategoricalDistribution)
    value: Value = trial.suggest_categorical(name, found.choices)  # type: ignore[assignment]
    return value


def searched(params: Params, study: StudyFile) -> Params:
    """The part of `params` that Optuna shall see as this trial's parameters, or nothing.

    A point with a value outside the space, or without one of its parameters, is not shown at
    all: a partial one would split the parameter groups that TPE models jointly.
    """
    seen: Params = {}
    for name, entry in study.space.items():
        if not _exists(name, params):
            continue
        found = distribution(name, entry)
        value = params.get(name, PARAMETERS[name].default)
        if value is None:
            return {}
        if found is None:
            if value != _cast(name, _fixed(entry)):
                return {}
            continue
        try:
            inside = found._contains(found.to_internal_repr(value))
        except ValueError:
            inside = False
        if not inside:
            return {}
        seen[name] = value
    return seen


def transferred(params: Params, study: StudyFile) -> Params:
    """The point of `study` that trains the same model in the same way, or nothing.

    `params` may be of another study. What `study` does not name has its default here, so a point with
    another value there is none of it; epochs and patience are those of whoever trains.
    """
    if not searched(params, study):
        return {}
    point: Params = {}
    for name in study.space:
        value = params.get(name, PARAMETERS[name].default)
        if value is not None and _exists(name, params):
            point[name] = value
    for name, value in params.items():
        if name in point or name in ("epochs", "patience") or not _exists(name, params):
            continue
        if value != PARAMETERS[name].default:
            return {}
    return point


def baseline_params(baseline: Baseline) -> Params:
    return {name: _cast(name, value) for name, value in baseline.params.items()}


def to_config(params: Params, *, epochs: int, patience: int, min_epochs: int = 0) -> TrialConfig:
    """The training configuration of `params`; `epochs` and `patience` unless they are searched.

    Raises UsageError when the parameters do not make a configuration.
    """

    for name, value in params.items():
        reason = PARAMETERS[name].problem(value) if name in PARAMETERS else None
        if reason:
            raise UsageError(f"these parameters make no configuration: {name}: {reason}")

    def get(name: str) -> Any:
        value = params.get(name, PARAMETERS[name].default)
        if value is None:
            raise UsageError(
                f"the parameter {name} is missing; it takes {PARAMETERS[name].allowed()}"
            )
        return value

    try:
        return TrialConfig(
            model=_mlp(get) if get("arch") == "mlp" else _cnn(get),
            optimizer=_optimizer(get),
            loss=_loss(get),
            schedule=get("schedule"),
            augment=get("augment"),
            shift=get("shift"),
            batch_size=get("batch_size"),
            epochs=params.get("epochs", epochs),
            patience=params.get("patience", patience),
            min_epochs=min_epochs,
        )
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise UsageError(
            f"these parameters make no configuration: {where} {problem['msg']}"
        ) from None


def _mlp(get: Any) -> MLPConfig:
    return MLPConfig(
        widths=(get("mlp_width"),) * get("mlp_depth"),
        dropout=get("mlp_dropout"),
        norm=get("mlp_norm"),
    )


def _cnn(get: Any) -> CNNConfig:
    hidden = get("cnn_hidden")
    convs = get("cnn_convs")
    return CNNConfig(
        widths=tuple(
            round(get("cnn_width") * get("cnn_growth") ** i) for i in range(get("cnn_blocks"))
        ),
        kernel=get("cnn_kernel"),
        convs=convs,
        residual=convs == 2 and get("cnn_residual"),
        pool=get("cnn_pool"),
        norm=get("cnn_norm"),
        head=get("cnn_head"),
        hidden=() if hidden == "none" else tuple(int(width) for width in hidden.split("-")),
        dropout=get("cnn_dropout"),
    )


def _optimizer(get: Any) -> OptimizerConfig:
    name, weight_decay = get("optimizer"), get("weight_decay")
    if name != "sgd":
        return OptimizerConfig(name=name, lr=get("lr"), weight_decay=weight_decay)
    momentum = get("sgd_momentum")
    return OptimizerConfig(
        name="sgd",
        lr=get("sgd_lr"),
        weight_decay=weight_decay,
        momentum=momentum,
        nesterov=momentum > 0 and get("sgd_nesterov"),
    )


def _loss(get: Any) -> LossConfig:
    name = get("loss")
    if name == "focal":
        return LossConfig(name=name, gamma=get("focal_gamma"))
    if name == "nll":
        return LossConfig(name=name)
    return LossConfig(name=name, label_smoothing=get("label_smoothing"))


def _exists(name: str, params: Params) -> bool:
    """Whether a parameter's conditions hold; those it depends on come earlier in PARAMETERS."""
    return all(
        params.get(other, PARAMETERS[other].default) in values
        for other, values in PARAMETERS[name].when.items()
    )


def _cast(name: str, value: Value) -> Value:
    return float(value) if PARAMETERS[name].kind is float else value


def _fixed(entry: Entry) -> Value:
    if isinstance(entry, tuple):
        return entry[0]
    assert not isinstance(entry, Range)
    return entry
