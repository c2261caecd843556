"""From search parameters to a training configuration.

    params = suggest(trial, study_file)        # every parameter, before anything can prune
    config = to_config(params, epochs=..., patience=...)

This file gives every parameter its meaning. Elsewhere only a few are read by name: `arch`, which is the
family of a trial, `epochs` and `patience`, and what the reports explain in words.

A parameter that the study file fixes is not suggested and not stored as an Optuna parameter. It is part of
the resolved configuration.
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

from ...models.config import FIRST_SHAPE, CNNConfig, MLPConfig, Shape
from ...studies import PARAMETERS, Baseline, Entry, Range, StudyFile, Value
from ..errors import UsageError
from ..training.config import LossConfig, OptimizerConfig, TrialConfig

Params = dict[str, Value]


def distribution(name: str, entry: Entry) -> BaseDistribution | None:
    """Return the Optuna distribution of a space's entry, None for a fixed value."""
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
    """Sample every parameter of the space that exists for this trial; fixed values are included."""
    params: Params = {}
    for name in PARAMETERS:
        if name not in study.space or not _exists(name, params):
            continue
        entry = study.space[name]
        numbers = distribution(name, entry)
        if numbers is None:
            params[name] = _cast(name, _fixed(entry))
        else:
            params[name] = _suggest(trial, name, numbers)
    return params


def _suggest(trial: optuna.trial.BaseTrial, name: str, numbers: BaseDistribution) -> Value:
    if isinstance(numbers, FloatDistribution):
        return trial.suggest_float(
            name, numbers.low, numbers.high, step=numbers.step, log=numbers.log
        )
    if isinstance(numbers, IntDistribution):
        return trial.suggest_int(
            name, numbers.low, numbers.high, step=numbers.step, log=numbers.log
        )
    assert isinstance(numbers, CategoricalDistribution)
    value: Value = trial.suggest_categorical(name, numbers.choices)  # type: ignore[assignment]
    return value


def searched(params: Params, study: StudyFile) -> Params:
    """Return the part of `params` that becomes the Optuna parameters of the trial.

    Return {} if a value is outside the space or a parameter is missing: a partial point would split the
    groups of parameters that TPE models jointly. Return {}, too, if a parameter that the space omits does
    not have its default: the sampler would take the value for that of another network. `epochs` and
    `patience` are ignored.
    """
    if not _omits_defaults_only(params, study):
        return {}
    suggested: Params = {}
    for name, entry in study.space.items():
        if not _exists(name, params):
            continue
        numbers = distribution(name, entry)
        value = params.get(name, PARAMETERS[name].default)
        if value is None:
            return {}
        if numbers is None:
            if value != _cast(name, _fixed(entry)):
                return {}
            continue
        try:
            inside = numbers._contains(numbers.to_internal_repr(value))
        except ValueError:
            inside = False
        if not inside:
            return {}
        suggested[name] = value
    return suggested


def transferred(params: Params, study: StudyFile) -> Params:
    """Map `params`, perhaps of another study, onto the space of `study`. Return {} if they do not fit.

    Parameters that the space omits must have their defaults. `epochs` and `patience` are dropped.
    """
    if not searched(params, study):
        return {}
    point: Params = {}
    for name in study.space:
        value = params.get(name, PARAMETERS[name].default)
        if value is not None and _exists(name, params):
            point[name] = value
    return point


def _omits_defaults_only(params: Params, study: StudyFile) -> bool:
    return all(
        value == PARAMETERS[name].default
        for name, value in params.items()
        if name not in study.space and name not in ("epochs", "patience") and _exists(name, params)
    )


def baseline_params(baseline: Baseline) -> Params:
    """Return the parameters of a baseline, with integers as floats where the parameter is a float."""
    return {name: _cast(name, value) for name, value in baseline.params.items()}


def without_length(params: Params) -> Params:
    """Return the parameters without a baseline's own epochs and patience."""
    return {name: value for name, value in params.items() if name not in ("epochs", "patience")}


def to_config(
    params: Params,
    *,
    epochs: int,
    patience: int,
    min_epochs: int = 0,
    shape: Shape = FIRST_SHAPE,
) -> TrialConfig:
    """Return the training configuration of `params` for images of a shape.

    `epochs` and `patience` apply if `params` has none. Raises UsageError if a parameter is missing or out of
    bounds, or if the parameters do not fit together.
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
            model=_mlp(get, shape) if get("arch") == "mlp" else _cnn(get, shape),
            optimizer=_optimizer(get),
            loss=_loss(get),
            schedule=get("schedule"),
            augment=get("augment"),
            shift=get("shift"),
            rotate=get("rotate"),
            batch_size=get("batch_size"),
            ema=get("ema"),
            skip_easy=get("skip_easy"),
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


def planned_epochs(params: Params, family: str, study: StudyFile, *, final: bool) -> int:
    """Return the epochs for which a trial of `family` trains unless it ends early.

    `params` may lack what the study file fixes. With `final`, of a training of the final evaluation.
    """
    if final:
        return study.training.final_epochs_of(family)
    given = params.get("epochs", study.space.get("epochs"))
    return given if isinstance(given, int) else study.training.epochs_of(family)


def _mlp(get: Any, shape: Shape) -> MLPConfig:
    return MLPConfig(
        shape=shape,
        widths=(get("mlp_width"),) * get("mlp_depth"),
        dropout=get("mlp_dropout"),
        norm=get("mlp_norm"),
    )


def _cnn(get: Any, shape: Shape) -> CNNConfig:
    hidden = get("cnn_hidden")
    convs = get("cnn_convs")
    return CNNConfig(
        shape=shape,
        stem=get("cnn_stem"),
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
    """Return whether a parameter's conditions hold. PARAMETERS lists those it depends on first."""
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
