"""Model configurations: all that `build_model` needs.

A configuration is plain data (pydantic): it can be stored as JSON beside its weights and checked
without importing torch.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from .fields import MAX_BLOCKS, MAX_DEPTH, Convs, Dropout, Frozen, Head, Kernel, Pool, Width

IMAGE_SIZE = 28
N_CHANNELS = 3
N_CLASSES = 8


class MLPConfig(Frozen):
    """Flatten, then `widths` hidden layers of linear - [BatchNorm] - ReLU - dropout, then linear.

    An empty `widths` is multinomial logistic regression on pixels.
    """

    arch: Literal["mlp"] = "mlp"
    widths: tuple[Width, ...] = Field(max_length=MAX_DEPTH)
    dropout: Dropout = 0.0
    norm: bool = False


class CNNConfig(Frozen):
    """`widths` blocks of convolution - 2x2 pooling - [BatchNorm] - ReLU, a head, `hidden` linear layers.

    Pooling precedes normalisation and ReLU. With max-pooling and no normalisation this is the same
    function as the usual convolution - ReLU - pooling, because ReLU is monotone. ReLU and BatchNorm
    then work on a quarter of the pixels.

    With `convs=2` a second convolution - [BatchNorm] - ReLU follows at the pooled size. `residual`
    adds the second convolution's input to its output.
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

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.residual and self.convs != 2:
            raise ValueError(
                f"residual needs convs = 2 (the residual spans the second), got {self.convs}"
            )
        return self

    @property
    def feature_size(self) -> int:
        """Side length in pixels of the last block's output (28 -> 14 -> 7 -> 3 -> 1)."""
        size = IMAGE_SIZE
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
