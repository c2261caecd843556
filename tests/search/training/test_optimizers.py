"""Fused optimizers against torch's plain ones, and the learning rate over a training."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn

from bloodsearch.models.fields import ScheduleName
from bloodsearch.search.training.config import OptimizerConfig
from bloodsearch.search.training.optimizers import make_optimizer
from bloodsearch.search.training.schedules import END_SHARE, START_SHARE, WARMUP_SHARE, lr_factor


def plain(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """What the configuration means, in torch's for-loop implementation."""
    common: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay}
    if config.name == "sgd":
        common |= {"momentum": config.momentum, "nesterov": config.nesterov}
    kind: Any = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    made: torch.optim.Optimizer = kind[config.name](
        model.parameters(), foreach=False, fused=False, **common
    )
    return made


CONFIGS = [
    OptimizerConfig(name="adam", lr=1e-2),
    OptimizerConfig(name="adam", lr=1e-2, weight_decay=0.1),
    OptimizerConfig(name="adamw", lr=1e-2, weight_decay=0.1),
    OptimizerConfig(name="sgd", lr=1e-1),
    OptimizerConfig(name="sgd", lr=1e-1, momentum=0.9, weight_decay=0.01),
    OptimizerConfig(name="sgd", lr=1e-1, momentum=0.9, nesterov=True),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_the_fused_optimizer_takes_the_same_steps(config: OptimizerConfig) -> None:
    models = []
    for make in (make_optimizer, plain):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
        optimizer = make(config, model)
        for step in range(6):
            optimizer.param_groups[0]["lr"] = config.lr / (step + 1)  # as a schedule does
            optimizer.zero_grad()
            (model(torch.randn(7, 6)) ** 2).sum().backward()
            optimizer.step()
        models.append(model)
    fused, reference = (list(model.parameters()) for model in models)
    torch.testing.assert_close(fused, reference, rtol=1e-5, atol=1e-6)


def test_adam_and_adamw_differ_by_their_weight_decay() -> None:
    # guards the test above against a reference that ignores the decay
    states = []
    for config in CONFIGS[1:3]:
        torch.manual_seed(0)
        model = nn.Linear(4, 4)
        optimizer = make_optimizer(config, model)
        model(torch.ones(1, 4)).sum().backward()
        optimizer.step()
        states.append(model.weight.detach())
    first, second = states
    assert not torch.allclose(first, second)


@pytest.mark.parametrize(
    ("schedule", "start", "end"),
    [("constant", 1.0, 1.0), ("cosine", 1.0, END_SHARE), ("one_cycle", START_SHARE, END_SHARE)],
)
def test_lr_factor_at_both_ends(schedule: ScheduleName, start: float, end: float) -> None:
    assert lr_factor(schedule, 0.0) == pytest.approx(start, rel=1e-9)
    assert lr_factor(schedule, 1.0) == pytest.approx(end, rel=1e-9)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_lr_factor_is_continuous_and_never_above_its_peak(schedule: ScheduleName) -> None:
    curve = [lr_factor(schedule, i / 10_000) for i in range(10_001)]
    assert max(abs(a - b) for a, b in itertools.pairwise(curve)) < 1e-3
    assert 0 < min(curve) <= max(curve) <= 1


def test_one_cycle_rises_then_falls() -> None:
    curve = [lr_factor("one_cycle", i / 1_000) for i in range(1_001)]
    peak = round(WARMUP_SHARE * 1_000)
    assert curve[peak] == pytest.approx(1.0)
    assert curve[: peak + 1] == sorted(curve[: peak + 1])
    assert curve[peak:] == sorted(curve[peak:], reverse=True)


def test_one_cycle_has_the_shape_of_torchs() -> None:
    steps = 2_000
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=1.0,
        total_steps=steps,
        pct_start=WARMUP_SHARE,
        div_factor=1 / START_SHARE,
        final_div_factor=START_SHARE / END_SHARE,
        cycle_momentum=False,
    )
    for step in range(steps):
        ours = lr_factor("one_cycle", step / (steps - 1))
        # torch's warm-up ends one step earlier than 30 % of the steps
        assert ours == pytest.approx(scheduler.get_last_lr()[0], abs=3e-3)
        optimizer.step()
        if step + 1 < steps:
            scheduler.step()
