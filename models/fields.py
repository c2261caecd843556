"""The base class and the field types that study files, training configurations and models share.

Each bound and each list of choices is written here once. `studies.parameters` reads them from the types.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class Frozen(BaseModel):
    """Immutable settings; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Count = Annotated[int, Field(ge=1, le=10_000)]
MAX_EPOCHS = 10_000
SkipChance = Annotated[float, Field(ge=0, le=0.95)]
"""Chance of an image with the least loss to be left out of a pass over the training images."""
Epochs = Annotated[int, Field(ge=1, le=MAX_EPOCHS)]
Patience = Annotated[int, Field(ge=0, le=10_000)]
"""A number of epochs, where 0 switches something off."""
Fraction = Annotated[float, Field(ge=0, le=1)]
InnerFraction = Annotated[float, Field(gt=0, lt=1)]

Family = Literal["mlp", "cnn"]
MAX_DEPTH = 8
MAX_BLOCKS = 6
Depth = Annotated[int, Field(ge=0, le=MAX_DEPTH)]
Blocks = Annotated[int, Field(ge=1, le=MAX_BLOCKS)]
MAX_WIDTH = 8192
Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]
FirstWidth = Annotated[int, Field(ge=1, le=1024)]
Growth = Annotated[float, Field(ge=1, le=4)]
AverageDecay = Annotated[float, Field(ge=0, le=0.9999)]
"""Decay of the moving average of weights; 0 = none."""
Dropout = Annotated[float, Field(ge=0, le=0.95)]
Convs = Annotated[int, Field(ge=1, le=2)]
Kernel = Literal[3, 5, 7]
Stem = Literal[1, 2, 4]
Pool = Literal["max", "avg"]
Head = Literal["flatten", "mean", "max"]
Hidden = Literal["none", "64", "128", "256", "256-128", "512"]

OptimizerName = Literal["adam", "adamw", "muon", "sgd"]
LearningRate = Annotated[float, Field(ge=1e-7, le=10)]
SGDLearningRate = Annotated[float, Field(ge=1e-7, le=100)]
Momentum = Annotated[float, Field(ge=0, le=0.999)]
WeightDecay = Annotated[float, Field(ge=0, le=10)]
BatchSize = Annotated[int, Field(ge=2, le=8192)]

LossName = Literal["cross_entropy", "weighted_cross_entropy", "nll", "focal"]
LabelSmoothing = Annotated[float, Field(ge=0, le=0.9)]
FocalGamma = Annotated[float, Field(ge=0, le=10)]

ScheduleName = Literal["constant", "one_cycle", "cosine"]
AugmentName = Literal["none", "flips", "dihedral"]
Shift = Annotated[int, Field(ge=0, le=8)]
Rotation = Annotated[float, Field(ge=0, le=180)]
"""Degrees to either side."""
