"""The moving average of weights, against the same sums by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from bloodsearch.models import MLPConfig
from bloodsearch.search.training.average import WeightAverage
from bloodsearch.search.training.config import LossConfig, OptimizerConfig, TrialConfig


def test_average_follows_the_weights_with_the_decay_and_its_warm_up() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    average = WeightAverage(model, 0.5)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for step in range(1, 12):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        model(torch.randn(4, 3))  # moves the statistics of BatchNorm
        average.update()
        decay = min(0.5, (1 + step) / (10 + step))
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                expected[name] = decay * expected[name] + (1 - decay) * tensor
            else:
                expected[name] = tensor.clone()
    for name, tensor in average.model.state_dict().items():
        torch.testing.assert_close(tensor, expected[name])


def test_a_training_without_average_keeps_the_identity_that_stored_checkpoints_have() -> None:
    parts: dict[str, Any] = {
        "model": MLPConfig(widths=(8,)),
        "optimizer": OptimizerConfig(name="adam", lr=1e-3),
        "loss": LossConfig(name="cross_entropy"),
    }
    plain = TrialConfig(**parts, epochs=3)
    averaged = TrialConfig(**parts, epochs=3, ema=0.99)
    assert plain.digest() == "a5bffe0692cea10f"
    assert averaged.digest() != plain.digest()
