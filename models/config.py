"""Model configurations: all that `build_model` needs.

A configuration is plain data (pydantic): it can be stored as JSON beside its weights and checked
without importing torch.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    model_serializer,
    model_validator,
)

from .fields import MAX_BLOCKS, MAX_DEPTH, Convs, Dropout, Frozen, Head, Kernel, Pool, Stem, Width


class Shape(Frozen):
    """What a model has to know of its data."""

    size: Annotated[int, Field(ge=1, le=1024)]
    """Height and width of an image in pixels."""
    channels: Literal[1, 3]
    classes: Annotated[int, Field(ge=2, le=256)]


FIRST_SHAPE = Shape(size=28, channels=3, classes=8)
"""The shape of configurations that were stored without one: there was one data set then."""


class ForShape(Frozen):
    """A configuration of a model for images of one shape.

    Values that earlier versions did not have are stored only where they differ from what those versions
    did: digests of stored configurations stay.
    """

    shape: Shape = FIRST_SHAPE

    @model_serializer(mode="wrap")
    def _without_later_defaults(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        for name in ADDED_LATER & set(data):
            if getattr(self, name) == type(self).model_fields[name].default:
                del data[name]
        return data


ADDED_LATER = {"shape", "stem"}


class MLPConfig(ForShape):
    """Flatten, then `widths` hidden layers of linear - [BatchNorm] - ReLU - dropout, then linear.

    An empty `widths` is multinomial logistic regression on pixels.
    """

    arch: Literal["mlp"] = "mlp"
    widths: tuple[Width, ...] = Field(max_length=MAX_DEPTH)
    dropout: Dropout = 0.0
    norm: bool = False


class CNNConfig(ForShape):
    """`widths` blocks of convolution - 2x2 pooling - [BatchNorm] - ReLU, a head, `hidden` linear layers.

    Pooling precedes normalisation and ReLU. With max-pooling and no normalisation this is the same
    function as the usual convolution - ReLU - pooling, because ReLU is monotone. ReLU and BatchNorm
    then work on a quarter of the pixels.

    With `convs=2` a second convolution - [BatchNorm] - ReLU follows at the pooled size. `residual`
    adds the second convolution's input to its output. A `stem` above 1 lets the first convolution step over
    pixels: images of 64 to 224 pixels need that to be affordable.
    """

    arch: Literal["cnn"] = "cnn"
    widths: tuple[Width, ...] = Field(min_length=1, max_length=MAX_BLOCKS)
    kernel: Kernel = 3
    convs: Convs = 1
    residual: bool = False
    pool: Pool = "max"
    norm: bool = False
    head: Head = "flatten"
    hidden: tuple[Width, ...] = Field(default=(), max_length=4)
    dropout: Dropout = 0.0
    stem: Stem = 1
    """Stride of the first convolution, whose filters are wider by twice the stride less one."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.feature_size < 1:
            raise ValueError(
                f"{len(self.widths)} blocks halve {self.shape.size} pixels to nothing; fewer blocks, or "
                "a smaller stem"
            )
        if self.residual and self.convs != 2:
            raise ValueError(
                f"residual needs convs = 2 (the residual spans the second), got {self.convs}"
            )
        return self

    @property
    def feature_size(self) -> int:
        """Side length in pixels of the last block's output (28 -> 14 -> 7 -> 3 -> 1)."""
        size = -(-self.shape.size // self.stem)
        for _ in self.widths:
            size //= 2
        return size


ModelConfig = Annotated[MLPConfig | CNNConfig, Field(discriminator="arch")]
_ADAPTER: TypeAdapter[MLPConfig | CNNConfig] = TypeAdapter(ModelConfig)


def parse_model_config(data: object) -> MLPConfig | CNNConfig:
    """Return the configuration in `data`, a mapping with an `arch` key.

    Raises pydantic.ValidationError (a ValueError) if a key is unknown, missing or out of range.
    """
    return _ADAPTER.validate_python(data)
