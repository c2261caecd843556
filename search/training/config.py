"""TrialConfig: one point of a search, resolved; all that `fit` needs besides data, seed and device."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ...models.config import ModelConfig

OptimizerName = Literal["adam", "adamw", "muon", "sgd"]
LossName = Literal["cross_entropy", "weighted_cross_entropy", "nll", "focal"]
ScheduleName = Literal["constant", "one_cycle", "cosine"]
AugmentName = Literal["none", "flips", "dihedral"]


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class OptimizerConfig(_Config):
    name: OptimizerName
    lr: Annotated[float, Field(gt=0, le=100)]
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    nesterov: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name != "sgd" and (self.momentum or self.nesterov):
            raise ValueError(f"momentum and nesterov belong to sgd, not to {self.name}")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class LossConfig(_Config):
    name: LossName
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    gamma: Annotated[float, Field(ge=0, le=10)] = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.label_smoothing and self.name not in ("cross_entropy", "weighted_cross_entropy"):
            raise ValueError(f"label_smoothing belongs to the cross-entropies, not to {self.name}")
        if self.gamma and self.name != "focal":
            raise ValueError(f"gamma belongs to focal, not to {self.name}")
        return self


class TrialConfig(_Config):
    model: ModelConfig
    optimizer: OptimizerConfig
    loss: LossConfig
    schedule: ScheduleName = "constant"
    augment: AugmentName = "none"
    shift: Annotated[int, Field(ge=0, le=8)] = 0
    """Largest random translation, in pixels, along each axis."""
    batch_size: Annotated[int, Field(ge=2, le=8192)] = 128
    epochs: Annotated[int, Field(ge=1, le=10_000)]
    patience: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Epochs without a better validation macro-F1 before training ends; 0 = never."""
    min_epochs: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Patience does not end a training before this epoch."""

    @property
    def family(self) -> str:
        """What a trial's peers share: the architecture, "mlp" or "cnn"."""
        return self.model.arch

    def digest(self) -> str:
        """Sixteen hexadecimal digits that two configurations share only if they are equal."""
        data = self.model_dump(mode="json")
        if not self.min_epochs:  # a checkpoint from before there was one goes on
            data.pop("min_epochs")
        canonical = json.dumps(data, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]
