"""bfloat16 copies of large weights: the same training as autocast's, within rounding, and resumable."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from bloodsearch.models import CNNConfig, MLPConfig, build_model, kernels
from bloodsearch.search.training import half
from bloodsearch.search.training.config import LossConfig, OptimizerConfig, TrialConfig
from bloodsearch.search.training.device import DeviceData
from bloodsearch.search.training.fit import fit
from bloodsearch.search.training.losses import make_loss
from bloodsearch.search.training.optimizers import make_optimizer
from bloodsearch.search.training.step import HalfStep, Step, make_step

needs_kernels = pytest.mark.skipif(kernels.build_name() is None, reason="no compiled kernels here")
MODELS: list[MLPConfig | CNNConfig] = [
    MLPConfig(widths=(24, 20), norm=True),
    CNNConfig(widths=(4, 6), norm=True, head="flatten"),
]
OPTIMIZERS = [
    OptimizerConfig(name="adam", lr=1e-2, weight_decay=0.1),
    OptimizerConfig(name="adamw", lr=1e-2, weight_decay=0.1),
    OptimizerConfig(name="sgd", lr=0.1),
    OptimizerConfig(name="sgd", lr=0.1, momentum=0.9, weight_decay=0.01),
    OptimizerConfig(name="sgd", lr=0.1, momentum=0.9, nesterov=True),
]


@pytest.fixture(autouse=True)
def _small_weights_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(half, "LARGE", 100)


def steps(
    kind: Any, config: OptimizerConfig, model: torch.nn.Module, n_steps: int
) -> tuple[Step, list[float]]:
    """Train for some steps, the learning rate changing at each. Return the step and the losses."""
    generator = torch.Generator().manual_seed(1)
    step: Step = kind(model, make_optimizer(config, model, torch.bfloat16))
    losses = []
    for i in range(n_steps):
        images = torch.randint(256, (32, 28, 28, 3), generator=generator, dtype=torch.uint8)
        labels = torch.randint(8, (32,), generator=generator)
        step.set_lr(config.lr / (i + 1))
        losses.append(float(step(images, labels)))
    return step, losses


@needs_kernels
@pytest.mark.parametrize("config", OPTIMIZERS, ids=str)
@pytest.mark.parametrize("model_config", MODELS, ids=lambda m: m.arch)
def test_it_trains_as_autocast_does(
    model_config: MLPConfig | CNNConfig, config: OptimizerConfig
) -> None:
    loss = make_loss(LossConfig(name="cross_entropy"), torch.arange(8), 8)
    for n_steps in (1, 6):
        torch.manual_seed(0)
        model = build_model(model_config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        start = {name: value.clone() for name, value in model.state_dict().items()}
        twin = copy.deepcopy(model)
        copied, losses = steps(lambda m, o: HalfStep(m, o, loss), config, model, n_steps)
        plain, wanted = steps(lambda m, o: Step(m, o, loss, torch.bfloat16), config, twin, n_steps)
        assert isinstance(copied, HalfStep)
        assert copied.copy.pairs
        # A copy's gradient is rounded to bfloat16, which a kernel's float32 gradient is not. Later steps make
        # more of it, because the weights are rounded too: 9 % of the first filters' way after six.
        assert losses == pytest.approx(wanted, rel=5e-3)
        for name, value in plain.model.state_dict().items():
            if value.is_floating_point() and n_steps == 1:
                way = float((value - start[name]).norm())
                assert (copied.model.state_dict()[name] - value).norm() <= 0.005 * way, name
    states, others = (step.optimizer.state_dict()["state"] for step in (copied, plain))
    assert {i: set(state) for i, state in states.items()} == {
        i: set(state) for i, state in others.items()
    }
    assert isinstance(copied, HalfStep)
    for full, kept in copied.copy.pairs:
        assert kept.dtype == torch.bfloat16
        assert torch.equal(kept, full.to(torch.bfloat16))


@needs_kernels
def test_a_weight_that_something_else_changed_is_copied_again() -> None:
    model = build_model(MODELS[0])
    step, _ = steps(
        lambda m, o: HalfStep(m, o, make_loss(LossConfig(name="nll"), torch.arange(8), 8)),
        OPTIMIZERS[0],
        model,
        6,
    )
    assert isinstance(step, HalfStep)
    model.load_state_dict({k: torch.ones_like(v) for k, v in model.state_dict().items()})
    step.copy.refresh()
    for _, kept in step.copy.pairs:
        assert bool((kept == 1).all())


@needs_kernels
@pytest.mark.parametrize("config", [OPTIMIZERS[1], OPTIMIZERS[4]], ids=str)
def test_a_resumed_training_is_the_uninterrupted_one(
    small: DeviceData, config: OptimizerConfig
) -> None:
    trial = TrialConfig(
        model=MLPConfig(widths=(32,), dropout=0.3, norm=True),
        optimizer=config,
        loss=LossConfig(name="cross_entropy"),
        batch_size=48,
        epochs=3,
        skip_easy=0.5,
    )
    saved: list[Any] = []

    def save(checkpoint: Any) -> None:
        saved.append(copy.deepcopy(checkpoint))

    whole = fit(trial, small, seed=7, precision="bfloat16", save_checkpoint=save, keep="last")
    resumed = fit(trial, small, seed=7, precision="bfloat16", resume=saved[0], keep="last")
    assert [e.val_loss for e in resumed.history] == [e.val_loss for e in whole.history]
    assert whole.state is not None
    assert resumed.state is not None
    for name, value in whole.state.items():
        assert torch.equal(resumed.state[name], value), name


def test_without_kernels_and_for_muon_autocast_casts(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model(MODELS[1])
    loss = make_loss(LossConfig(name="nll"), torch.arange(8), 8)
    muon = make_optimizer(OptimizerConfig(name="muon", lr=0.01), model, torch.bfloat16)
    assert type(make_step(model, muon, loss, torch.bfloat16)) is Step
    adam = make_optimizer(OPTIMIZERS[0], model, torch.bfloat16)
    for missing in (lambda: None, kernels.build_name):
        monkeypatch.setattr(kernels, "build_name", missing)
        monkeypatch.setattr(kernels, "_library", lambda name: object())  # an older build
        assert type(make_step(model, adam, loss, torch.bfloat16)) is Step
