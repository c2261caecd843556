"""The vocabulary of search spaces: every parameter's name, type, bounds, default and condition.

Names are a database schema: a renamed parameter makes every old study another study. So there are
few, and each means the same in every study file. `search.sampling.space` turns their values into a
training configuration.
"""

from __future__ import annotations

import json
import reprlib
from dataclasses import dataclass, field

Value = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Parameter:
    """One name of the vocabulary. `low` and `high` bound numbers; `choices` list all there is."""

    kind: type
    help: str
    default: Value | None = None
    """Used when a study file does not mention the parameter; None: it must."""
    low: float | None = None
    high: float | None = None
    choices: tuple[str | int, ...] = ()
    when: dict[str, tuple[Value, ...]] = field(default_factory=dict)
    """The parameter exists only where these others have one of these values."""

    def problem(self, value: object) -> str | None:
        """Why `value` is not one of this parameter's, or None if it is."""
        return None if self._holds(value) else f"{shown(value)} is not {self.allowed()}"

    def _holds(self, value: object) -> bool:
        if type(value) is not self.kind and not (self.kind is float and type(value) is int):
            return False
        if self.choices:
            return value in self.choices
        if self.low is None or self.high is None or not isinstance(value, int | float):
            return True
        return self.low <= value <= self.high  # a NaN is not

    def allowed(self) -> str:
        """What the parameter takes, in words."""
        if self.choices:
            return "one of " + ", ".join(shown(choice) for choice in self.choices)
        if self.kind is bool:
            return "true or false"
        noun = "an integer" if self.kind is int else "a number"
        return f"{noun} in {self.low:g} .. {self.high:g}"


def shown(value: object) -> str:
    """A value for an error message, as TOML has it, cut to 60 characters."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value[:60], ensure_ascii=False)
    if isinstance(value, int) and abs(value) >= 10**50:
        return f"an integer of {value.bit_length()} bits"  # Python refuses to print the longest
    return reprlib.repr(value)[:60]


_MLP: dict[str, tuple[Value, ...]] = {"arch": ("mlp",)}
_CNN: dict[str, tuple[Value, ...]] = {"arch": ("cnn",)}
_SGD: dict[str, tuple[Value, ...]] = {"optimizer": ("sgd",)}

PARAMETERS: dict[str, Parameter] = {
    "arch": Parameter(str, "model family", choices=("mlp", "cnn")),
    "optimizer": Parameter(
        str,
        "optimizer (muon is for convolution filters; what is none, MLPs too, it trains as adamw)",
        choices=("adam", "adamw", "muon", "sgd"),
    ),
    "lr": Parameter(
        float,
        "peak learning rate of adam, adamw and muon (whose filters move ten times as fast)",
        low=1e-7,
        high=10,
        when={"optimizer": ("adam", "adamw", "muon")},
    ),
    "sgd_lr": Parameter(float, "peak learning rate of sgd", low=1e-7, high=100, when=_SGD),
    "sgd_momentum": Parameter(float, "momentum", default=0.9, low=0, high=0.999, when=_SGD),
    "sgd_nesterov": Parameter(bool, "Nesterov's form of momentum", default=False, when=_SGD),
    "weight_decay": Parameter(
        float,
        "L2 penalty (adam, sgd) or decoupled decay (adamw, muon)",
        default=0.0,
        low=0,
        high=10,
    ),
    "batch_size": Parameter(int, "images a step", default=128, low=2, high=8192),
    "loss": Parameter(
        str,
        "training loss; nll is NLL on log-softmax",
        default="cross_entropy",
        choices=("cross_entropy", "weighted_cross_entropy", "nll", "focal"),
    ),
    "label_smoothing": Parameter(
        float,
        "share of the target spread over all classes; class weights weigh what is spread, too",
        default=0.0,
        low=0,
        high=0.9,
        when={"loss": ("cross_entropy", "weighted_cross_entropy")},
    ),
    "focal_gamma": Parameter(
        float, "focusing exponent", default=2.0, low=0, high=10, when={"loss": ("focal",)}
    ),
    "schedule": Parameter(
        str,
        "learning rate over the trial's own epochs",
        default="constant",
        choices=("constant", "one_cycle", "cosine"),
    ),
    "augment": Parameter(
        str, "orientations drawn each epoch", default="none", choices=("none", "flips", "dihedral")
    ),
    "shift": Parameter(int, "largest random shift in pixels", default=0, low=0, high=8),
    "epochs": Parameter(
        int,
        "epochs of a trial; only to search over them, else training.epochs or mlp_epochs",
        low=1,
        high=10_000,
    ),
    "patience": Parameter(
        int, "only to search over it, else training.patience", low=0, high=10_000
    ),
    "mlp_depth": Parameter(int, "hidden layers", default=1, low=0, high=8, when=_MLP),
    "mlp_width": Parameter(
        int, "neurons in each hidden layer", default=1024, low=1, high=8192, when=_MLP
    ),
    "mlp_dropout": Parameter(
        float, "after each hidden layer", default=0.0, low=0, high=0.95, when=_MLP
    ),
    "mlp_norm": Parameter(bool, "BatchNorm in each hidden layer", default=False, when=_MLP),
    "cnn_blocks": Parameter(
        int, "blocks, each halving the image", default=3, low=1, high=4, when=_CNN
    ),
    "cnn_width": Parameter(
        int, "filters of the first block", default=32, low=1, high=1024, when=_CNN
    ),
    "cnn_growth": Parameter(
        float,
        "filters of a block over those of the one before",
        default=2.0,
        low=1,
        high=4,
        when=_CNN,
    ),
    "cnn_convs": Parameter(int, "convolutions in a block", default=1, low=1, high=2, when=_CNN),
    "cnn_residual": Parameter(
        bool,
        "add a second convolution's input to its output",
        default=False,
        when={"arch": ("cnn",), "cnn_convs": (2,)},
    ),
    "cnn_kernel": Parameter(int, "side of a filter", default=3, choices=(3, 5, 7), when=_CNN),
    "cnn_pool": Parameter(str, "2x2 pooling", default="max", choices=("max", "avg"), when=_CNN),
    "cnn_norm": Parameter(bool, "BatchNorm after each convolution", default=False, when=_CNN),
    "cnn_head": Parameter(
        str,
        "how feature maps become a vector",
        default="flatten",
        choices=("flatten", "mean", "max"),
        when=_CNN,
    ),
    "cnn_hidden": Parameter(
        str,
        "linear layers before the last",
        default="none",
        choices=("none", "64", "128", "256", "256-128", "512"),
        when=_CNN,
    ),
    "cnn_dropout": Parameter(
        float, "in front of the linear layers' outputs", default=0.0, low=0, high=0.95, when=_CNN
    ),
}
