"""Model configurations: frozen, self-checking, and all that `build_model` needs.

They are plain data (pydantic), so that a configuration can be stored as JSON beside its weights
and checked without importing torch.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

IMAGE_SIZE = 28
N_CHANNELS = 3
N_CLASSES = 8

Width = Annotated[int, Field(ge=1, le=8192)]
Dropout = Annotated[float, Field(ge=0.0, le=0.95)]


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MLPConfig(_Config):
    """Flatten, then `widths` hidden layers of linear - [BatchNorm] - ReLU - dropout, then linear.

    An empty `widths` is multinomial logistic regression on pixels.
    """

    arch: Literal["mlp"] = "mlp"
    widths: tuple[Width, ...] = Field(max_length=8)
    dropout: Dropout = 0.0
    norm: bool = False


class CNNConfig(_Config):
    """`widths` blocks of convolution - 2x2 pooling - [BatchNorm] - ReLU, a head, `hidden` linear layers.

    Pooling comes before normalisation and ReLU. With max-pooling and no normalisation this is the
    same function as the usual convolution - ReLU - pooling, since ReLU is monotone, and it lets
    the ReLU and the BatchNorm work on a quarter of the pixels.

    With `convs=2` a second convolution - [BatchNorm] - ReLU follows at the pooled size; `residual`
    adds that second convolution's input to its output.
    """

    arch: Literal["cnn"] = "cnn"
    widths: tuple[Width, ...] = Field(min_length=1, max_length=4)
    kernel: Literal[3, 5, 7] = 3
    convs: Literal[1, 2] = 1
    residual: bool = False
    pool: Literal["max", "avg"] = "max"
    norm: bool = False
    head: Literal["flatten", "mean", "max"] = "flatten"
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
    """The configuration in `data` (a mapping with an `arch` key).

    Raises pydantic.ValidationError (a ValueError) when a key is unknown, missing or out of range.
    """
    return _ADAPTER.validate_python(data)
