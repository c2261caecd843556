"""Optimizers."""

from __future__ import annotations

import torch

from .config import OptimizerConfig
from .muon import Muon


def make_optimizer(config: OptimizerConfig, model: torch.nn.Module) -> torch.optim.Optimizer:
    """Make the optimizer that `config` names, in torch's fused form (one pass over the weights per step)."""
    if config.name == "muon":
        return Muon(model, lr=config.lr, weight_decay=config.weight_decay)
    parameters = list(model.parameters())
    if config.name == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
            fused=True,
        )
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)
