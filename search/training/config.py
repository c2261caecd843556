"""TrialConfig: one point of a search, resolved. It is all that `fit` needs besides data, seed and device."""

from __future__ import annotations

import hashlib
import json
from typing import Self

from pydantic import model_validator

from ...models.config import ModelConfig
from ...models.fields import (
    AugmentName,
    AverageDecay,
    BatchSize,
    Epochs,
    FocalGamma,
    Frozen,
    LabelSmoothing,
    LossName,
    Momentum,
    OptimizerName,
    Patience,
    Rotation,
    ScheduleName,
    SGDLearningRate,
    Shift,
    SkipChance,
    WeightDecay,
)


class OptimizerConfig(Frozen):
    name: OptimizerName
    lr: SGDLearningRate
    """Peak learning rate. The range is SGD's, the widest of all optimizers."""
    weight_decay: WeightDecay = 0.0
    momentum: Momentum = 0.0
    nesterov: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.name != "sgd" and (self.momentum or self.nesterov):
            raise ValueError(f"momentum and nesterov belong to sgd, not to {self.name}")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class LossConfig(Frozen):
    name: LossName
    label_smoothing: LabelSmoothing = 0.0
    gamma: FocalGamma = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.label_smoothing and self.name not in ("cross_entropy", "weighted_cross_entropy"):
            raise ValueError(f"label_smoothing belongs to the cross-entropies, not to {self.name}")
        if self.gamma and self.name != "focal":
            raise ValueError(f"gamma belongs to focal, not to {self.name}")
        return self


class TrialConfig(Frozen):
    model: ModelConfig
    optimizer: OptimizerConfig
    loss: LossConfig
    schedule: ScheduleName = "constant"
    augment: AugmentName = "none"
    shift: Shift = 0
    """Largest random translation along each axis, in pixels."""
    rotate: Rotation = 0.0
    """Largest random rotation to either side, in degrees."""
    batch_size: BatchSize = 128
    ema: AverageDecay = 0.0
    """Decay of the weights' moving average, which is validated and kept; 0 = the weights themselves."""
    skip_easy: SkipChance = 0.0
    """Chance that an image with the least loss is left out of a pass over the training split; 0 = none is."""
    epochs: Epochs
    patience: Patience = 0
    """Epochs without a better validation macro-F1 before training ends; 0 = no early stopping."""
    min_epochs: Patience = 0
    """Early stopping is off before this epoch."""

    @property
    def family(self) -> str:
        """The architecture, "mlp" or "cnn". Trials are compared within a family."""
        return self.model.arch

    def digest(self) -> str:
        """Return sixteen hexadecimal digits that are equal only for equal configurations."""
        data = self.model_dump(mode="json")
        for key in ("min_epochs", "ema", "rotate", "skip_easy"):
            if not data[key]:  # keeps the digest of checkpoints written before the keys existed
                data.pop(key)
        canonical = json.dumps(data, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]
