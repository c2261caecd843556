"""The CNN family: blocks of convolutions, a head, and a classifier of linear layers."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from .config import CNNConfig
from .convolution import Convolution
from .dropout import Dropout
from .first_layer import conv_pool, is_first
from .mlp import hidden_layers
from .norms import norm_relu, pool_norm_relu
from .pooling import max_pool


class Block(nn.Module):
    """Convolution - 2x2 pooling - [BatchNorm] - ReLU, and optionally a second convolution.

    Input (n, c, s, s), output (n, width, t // 2, t // 2), where t is s / stride rounded up.
    """

    def __init__(self, n_in: int, width: int, config: CNNConfig, stride: int = 1) -> None:
        super().__init__()
        first = config.kernel + 2 * (stride - 1)  # wide enough to see each pixel at least twice
        self.conv1 = Convolution(n_in, width, first, stride=stride, bias=not config.norm)
        self.pool, self.norm = config.pool, config.norm
        self.norm1 = nn.BatchNorm2d(width) if config.norm else nn.Identity()
        self.residual = config.residual
        self.conv2: nn.Conv2d | None = None
        if config.convs == 2:
            self.conv2 = Convolution(width, width, config.kernel, bias=not config.norm)
            self.norm2 = nn.BatchNorm2d(width) if config.norm else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.pool == "avg":
            x = torch.relu(self.norm1(F.avg_pool2d(self.conv1(x), 2)))
        elif is_first(x, self.conv1):
            x = conv_pool(x, self.conv1, relu=not self.norm)
            x = norm_relu(x, self.norm1, None) if self.norm else x
        elif self.norm:
            x = pool_norm_relu(self.conv1(x), self.norm1)
        else:
            x = max_pool(self.conv1(x), relu=True)
        if self.conv2 is None:
            return x
        return norm_relu(self.conv2(x), self.norm2, x if self.residual else None)


class CNN(nn.Module):
    """A stack of blocks. Maps images (n, c, s, s) to logits (n, classes)."""

    def __init__(self, config: CNNConfig) -> None:
        super().__init__()
        self.config = config
        blocks: list[nn.Module] = []
        n_in: int = config.shape.channels
        stride: int = config.stem
        for width in config.widths:
            blocks.append(Block(n_in, width, config, stride))
            stride = 1
            n_in = width
        self.blocks = nn.Sequential(*blocks)
        n_features = n_in * config.feature_size**2 if config.head == "flatten" else n_in
        layers, n_last = hidden_layers(
            n_features, config.hidden, dropout=config.dropout, norm=config.norm
        )
        if not config.hidden and config.dropout > 0:
            layers.append(Dropout(config.dropout))
        self.classifier = nn.Sequential(*layers, nn.Linear(n_last, config.shape.classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.blocks(images)
        if self.config.head == "flatten":
            x = x.flatten(1)
        elif self.config.head == "mean":
            x = x.mean(dim=(2, 3))
        else:
            x = x.amax(dim=(2, 3))
        logits: torch.Tensor = self.classifier(x)
        return logits
