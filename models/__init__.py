"""The two model families: `build_model` makes a `torch.nn.Module` from a frozen configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .config import CNNConfig, MLPConfig, ModelConfig, Shape, parse_model_config

if TYPE_CHECKING:
    from torch import nn

__all__ = ["CNNConfig", "MLPConfig", "ModelConfig", "Shape", "build_model", "parse_model_config"]


def build_model(config: MLPConfig | CNNConfig) -> nn.Module:
    """Build a model with new weights: images (n, c, s, s) scaled to [-1, 1] to logits (n, classes).

    The weights are drawn from torch's global generator: seed it first.
    """
    # Importing torch takes seconds. `bloodsearch --help` and the study files need configurations only.
    if isinstance(config, MLPConfig):
        from .mlp import MLP

        return MLP(config)
    from .cnn import CNN

    return CNN(config)
