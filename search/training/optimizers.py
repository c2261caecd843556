"""Optimizers."""

from __future__ import annotations

import torch

from .config import OptimizerConfig
from .eager import SGD, Adam, AdamW
from .muon import Muon


def make_optimizer(
    config: OptimizerConfig, model: torch.nn.Module, dtype: torch.dtype = torch.float32
) -> torch.optim.Optimizer:
    """Make the optimizer that `config` names, in torch's fused form (one pass over the weights per step).

    `dtype` is the precision of the training. Weights and moments are float32 in either.
    """
    if config.name == "muon":
        half = dtype == torch.bfloat16
        return Muon(model, lr=config.lr, weight_decay=config.weight_decay, half=half)
    parameters = list(model.parameters())
    if config.name == "sgd":
        return SGD(
            parameters,
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
            fused=True,
        )
    kind = Adam if config.name == "adam" else AdamW
    return kind(parameters, lr=config.lr, weight_decay=config.weight_decay, fused=True)
