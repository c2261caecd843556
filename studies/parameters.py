"""The parameters that a search space can have: name, type, bounds, default and condition.

Names are a database schema: renaming a parameter makes every stored study a different one. The names are
few, and each means the same in every study file. `search.sampling.space` turns values into a training
configuration.
"""

from __future__ import annotations

import json
import reprlib
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

from ..models import fields

Value = bool | int | float | str
When = dict[str, tuple[Value, ...]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. `low` and `high` bound numbers; `choices` lists all values, if there are few."""

    kind: type
    help: str
    default: Value | None = None
    """The value where a study file does not mention the parameter; None: the file must mention it."""
    low: float | None = None
    high: float | None = None
    choices: tuple[str | int, ...] = ()
    when: When = field(default_factory=dict)
    """The parameter exists only if each of these parameters has one of these values."""

    def is_of(self, family: Value | None) -> bool:
        """Return whether models of a family have the parameter."""
        return family in self.when.get("arch", (family,))

    def problem(self, value: object) -> str | None:
        """Return why `value` is not allowed, or None if it is."""
        return None if self._allows(value) else f"{shown(value)} is not {self.allowed()}"

    def _allows(self, value: object) -> bool:
        if type(value) is not self.kind and not (self.kind is float and type(value) is int):
            return False
        if self.choices:
            return value in self.choices
        if self.low is None or self.high is None or not isinstance(value, int | float):
            return True
        return self.low <= value <= self.high  # False for NaN

    def allowed(self) -> str:
        """Describe the allowed values in words."""
        if self.choices:
            return "one of " + ", ".join(shown(choice) for choice in self.choices)
        if self.kind is bool:
            return "true or false"
        noun = "an integer" if self.kind is int else "a number"
        return f"{noun} in {self.low:g} .. {self.high:g}"


def shown(value: object) -> str:
    """Format a value for an error message, as in TOML, cut to 60 characters."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value[:60], ensure_ascii=False)
    if isinstance(value, int) and abs(value) >= 10**50:
        return f"an integer of {value.bit_length()} bits"  # Python refuses to print the longest
    return reprlib.repr(value)[:60]


def _parameter(
    annotation: Any, help: str, default: Value | None = None, when: When | None = None
) -> Parameter:
    """Make a parameter of a type from `models.fields`, which holds its bounds or choices."""
    when = when or {}
    if annotation is bool:
        return Parameter(bool, help, default, when=when)
    if get_origin(annotation) is Literal:
        choices = get_args(annotation)
        return Parameter(type(choices[0]), help, default, choices=choices, when=when)
    kind, bounds = get_args(annotation)
    low, high = (
        next(getattr(bound, name) for bound in bounds.metadata if hasattr(bound, name))
        for name in ("ge", "le")
    )
    return Parameter(kind, help, default, low=low, high=high, when=when)


_MLP: When = {"arch": ("mlp",)}
_CNN: When = {"arch": ("cnn",)}
_SGD: When = {"optimizer": ("sgd",)}

PARAMETERS: dict[str, Parameter] = {
    "arch": _parameter(fields.Family, "model family"),
    "optimizer": _parameter(
        fields.OptimizerName,
        "optimizer; muon applies to convolution filters only and falls back to AdamW for all other "
        "parameters, including whole MLPs",
    ),
    "lr": _parameter(
        fields.LearningRate,
        "peak learning rate of adam, adamw and muon; muon's filters use ten times this rate",
        when={"optimizer": ("adam", "adamw", "muon")},
    ),
    "sgd_lr": _parameter(fields.SGDLearningRate, "peak learning rate of sgd", when=_SGD),
    "sgd_momentum": _parameter(fields.Momentum, "momentum", 0.9, _SGD),
    "sgd_nesterov": _parameter(bool, "use Nesterov momentum", False, _SGD),
    "weight_decay": _parameter(
        fields.WeightDecay, "L2 penalty (adam, sgd) or decoupled weight decay (adamw, muon)", 0.0
    ),
    "batch_size": _parameter(fields.BatchSize, "images per training step", 128),
    "ema": _parameter(
        fields.AverageDecay,
        "decay per step of the moving average of weights, which is validated and kept; 0 = none",
        0.0,
    ),
    "loss": _parameter(
        fields.LossName,
        "training loss; nll is NLL on log-softmax, the same function as cross_entropy",
        "cross_entropy",
    ),
    "label_smoothing": _parameter(
        fields.LabelSmoothing,
        "share of the target spread over all classes; class weights apply to the spread share too",
        0.0,
        {"loss": ("cross_entropy", "weighted_cross_entropy")},
    ),
    "focal_gamma": _parameter(
        fields.FocalGamma, "focusing exponent of the focal loss", 2.0, {"loss": ("focal",)}
    ),
    "schedule": _parameter(
        fields.ScheduleName, "learning-rate schedule over the epochs of the trial", "constant"
    ),
    "augment": _parameter(
        fields.AugmentName, "random orientations, drawn again in each epoch", "none"
    ),
    "shift": _parameter(fields.Shift, "largest random shift in pixels", 0),
    "rotate": _parameter(
        fields.Rotation,
        "largest random rotation in degrees, to either side; 180 draws every angle",
        0.0,
    ),
    "skip_easy": _parameter(
        fields.SkipChance,
        "chance that an image with the least loss is left out of a pass over the training images; an epoch "
        "then shows others more often",
        0.0,
    ),
    "epochs": _parameter(
        fields.Epochs, "epochs of a trial; only to search over them, otherwise use training.epochs"
    ),
    "patience": _parameter(
        fields.Patience,
        "patience of early stopping; only to search over it, otherwise use training.patience",
    ),
    "mlp_depth": _parameter(fields.Depth, "hidden layers", 1, _MLP),
    "mlp_width": _parameter(fields.Width, "neurons per hidden layer", 1024, _MLP),
    "mlp_dropout": _parameter(fields.Dropout, "dropout after each hidden layer", 0.0, _MLP),
    "mlp_norm": _parameter(bool, "BatchNorm in each hidden layer", False, _MLP),
    "cnn_blocks": _parameter(fields.Blocks, "blocks; each halves the image", 3, _CNN),
    "cnn_width": _parameter(fields.FirstWidth, "filters of the first block", 32, _CNN),
    "cnn_growth": _parameter(
        fields.Growth, "factor by which the filters grow from block to block", 2.0, _CNN
    ),
    "cnn_convs": _parameter(fields.Convs, "convolutions per block", 1, _CNN),
    "cnn_residual": _parameter(
        bool,
        "add the input of the second convolution to its output",
        False,
        {"arch": ("cnn",), "cnn_convs": (2,)},
    ),
    "cnn_stem": _parameter(
        fields.Stem,
        "stride of the first convolution, for images of 64 pixels and more; its filters are wider by twice "
        "the stride less one",
        1,
        _CNN,
    ),
    "cnn_kernel": _parameter(fields.Kernel, "side of a filter in pixels", 3, _CNN),
    "cnn_pool": _parameter(fields.Pool, "kind of 2x2 pooling", "max", _CNN),
    "cnn_norm": _parameter(bool, "BatchNorm after each convolution", False, _CNN),
    "cnn_head": _parameter(
        fields.Head, "how the last feature maps become a vector", "flatten", _CNN
    ),
    "cnn_hidden": _parameter(
        fields.Hidden, "neurons of the linear layers before the last", "none", _CNN
    ),
    "cnn_dropout": _parameter(
        fields.Dropout, "dropout in front of each linear layer but the first hidden one", 0.0, _CNN
    ),
}
