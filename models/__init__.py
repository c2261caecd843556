"""The two model families: a frozen configuration in, a `torch.nn.Module` out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .config import CNNConfig, MLPConfig, ModelConfig, parse_model_config

if TYPE_CHECKING:
    from torch import nn

__all__ = ["CNNConfig", "MLPConfig", "ModelConfig", "build_model", "parse_model_config"]


def build_model(config: MLPConfig | CNNConfig) -> nn.Module:
    """A freshly initialised model for images (n, 3, 28, 28) scaled to [-1, 1]; logits (n, 8).

    The weights come from torch's global generator: seed it first.
    """
    # torch takes seconds to import; configurations alone must stay cheap (`bloodsearch --help`)
    if isinstance(config, MLPConfig):
        from .mlp import MLP

        return MLP(config)
    from .cnn import CNN

    return CNN(config)
