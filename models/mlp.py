"""The MLP family: linear layers on flattened pixels."""

from __future__ import annotations

import torch
from torch import nn

from .config import MLPConfig
from .dropout import Dropout


def hidden_layers(
    n_in: int, widths: tuple[int, ...], *, dropout: float, norm: bool
) -> tuple[list[nn.Module], int]:
    """Make linear - [BatchNorm] - ReLU - [dropout] for each width. Return the layers and the last width."""
    layers: list[nn.Module] = []
    for width in widths:
        # BatchNorm subtracts the mean, so a bias in front of it has no effect
        layers.append(nn.Linear(n_in, width, bias=not norm))
        if norm:
            layers.append(nn.BatchNorm1d(width))
        layers.append(nn.ReLU(inplace=True))
        if dropout > 0:
            layers.append(Dropout(dropout))
        n_in = width
    return layers, n_in


class MLP(nn.Module):
    """A stack of hidden layers. Maps images (n, c, s, s), in any memory format, to logits (n, classes)."""

    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        self.config = config
        n_pixels = config.shape.channels * config.shape.size**2
        layers, n_last = hidden_layers(
            n_pixels, config.widths, dropout=config.dropout, norm=config.norm
        )
        self.layers = nn.Sequential(*layers, nn.Linear(n_last, config.shape.classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        # Flatten in the order of memory (rows, columns, channels), which needs no copy. The order of the
        # inputs does not matter to an MLP.
        flat = images.permute(0, 2, 3, 1).reshape(images.shape[0], -1)
        logits: torch.Tensor = self.layers(flat)
        return logits
