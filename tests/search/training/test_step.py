"""The captured step, with a stand-in for a device's graphs: it must train exactly as the plain one."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator

import pytest
import torch

from bloodsearch.models import CNNConfig, MLPConfig, build_model
from bloodsearch.search.training.config import LossConfig, OptimizerConfig
from bloodsearch.search.training.losses import make_loss
from bloodsearch.search.training.optimizers import make_optimizer
from bloodsearch.search.training.predict import scale
from bloodsearch.search.training.step import CapturedStep, Step, make_step

BATCH = 16
MODELS: list[MLPConfig | CNNConfig] = [
    MLPConfig(widths=(12,), norm=True),
    CNNConfig(widths=(4, 6), norm=True, head="mean"),
]
OPTIMIZERS = [
    OptimizerConfig(name="adam", lr=1e-2),
    OptimizerConfig(name="adamw", lr=1e-2, weight_decay=0.1),
    OptimizerConfig(name="sgd", lr=0.1, momentum=0.9, nesterov=True),
    OptimizerConfig(name="muon", lr=0.01, weight_decay=0.1),
]


class Recorder:
    """Keeps the captured work and runs it again at each replay, on whatever its inputs hold by then."""

    def __init__(self, error: RuntimeError | None = None) -> None:
        self.n_aside = self.n_captures = self.n_replays = 0
        self.capturable: list[bool] = []
        self.error = error
        self.step: CapturedStep | None = None

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        self.n_aside += 1
        yield

    def capture(self, work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Callable[[], None]]:
        self.n_captures += 1
        assert self.step is not None
        self.capturable = [g.get("capturable", True) for g in self.step.optimizer.param_groups]
        if self.error is not None:
            raise self.error
        out = torch.empty(())

        def replay() -> None:
            self.n_replays += 1
            out.copy_(work())

        return out, replay


def make(
    model_config: MLPConfig | CNNConfig, optimizer: OptimizerConfig, graphs: Recorder | None
) -> Step:
    torch.manual_seed(0)
    model = build_model(model_config)
    loss = make_loss(LossConfig(name="cross_entropy"), torch.arange(8), 8)
    parts = (model, make_optimizer(optimizer, model), loss, torch.float32)
    if graphs is None:
        return Step(*parts)
    graphs.step = CapturedStep(*parts, batch_size=BATCH, graphs=graphs)
    return graphs.step


def train(step: Step) -> list[float]:
    """Seven batches, one of them smaller, with a learning rate that changes at each."""
    generator = torch.Generator().manual_seed(1)
    losses = []
    for i, size in enumerate((BATCH, BATCH, BATCH, BATCH, 5, BATCH, BATCH)):
        images = torch.randint(256, (size, 28, 28, 3), generator=generator, dtype=torch.uint8)
        labels = torch.randint(8, (size,), generator=generator)
        step.set_lr(0.01 / (i + 1))
        losses.append(step(images, labels))
    return [float(loss) for loss in losses]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: o.name)
@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.arch)
def test_a_captured_step_trains_as_a_plain_one(
    model: MLPConfig | CNNConfig, optimizer: OptimizerConfig
) -> None:
    graphs = Recorder()
    plain, captured = make(model, optimizer, None), make(model, optimizer, graphs)
    assert train(captured) == pytest.approx(train(plain), abs=1e-6)
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(captured.model.state_dict()[name], value, msg=name)
    # three full batches before the capture, three after it; the small one outside
    assert (graphs.n_aside, graphs.n_captures, graphs.n_replays) == (3, 1, 3)


def test_a_loss_outlives_the_next_replay() -> None:
    """Each replay writes to the same memory, and the loop adds losses up only later."""
    losses = train(make(MODELS[0], OPTIMIZERS[0], Recorder()))
    assert len(set(losses)) == len(losses)


def test_adam_is_capturable_for_the_capture_alone() -> None:
    """It refuses a capture without the flag, and warns about steps outside one with it."""
    graphs = Recorder()
    step = make(MODELS[0], OPTIMIZERS[0], graphs)
    train(step)
    assert graphs.capturable == [True]
    assert [group["capturable"] for group in step.optimizer.param_groups] == [False]


def test_the_learning_rate_is_one_tensor_that_changes_in_place() -> None:
    step = make(MODELS[0], OPTIMIZERS[0], Recorder())
    step.set_lr(0.5)
    lr = step.optimizer.param_groups[0]["lr"]
    step.set_lr(0.25)
    assert step.optimizer.param_groups[0]["lr"] is lr
    assert float(lr) == 0.25


def test_a_failed_capture_is_said_once_and_costs_no_batch(caplog: pytest.LogCaptureFixture) -> None:
    graphs = Recorder(RuntimeError("operation not permitted\nwhen stream is capturing"))
    step, plain = make(MODELS[1], OPTIMIZERS[1], graphs), make(MODELS[1], OPTIMIZERS[1], None)
    with caplog.at_level(logging.WARNING):
        assert train(step) == pytest.approx(train(plain), abs=1e-6)
    assert graphs.n_captures == 1
    assert [r.getMessage() for r in caplog.records] == [
        "no captured graph (operation not permitted): training continues without it"
    ]


def test_a_step_is_captured_only_if_asked_for() -> None:
    model = build_model(MODELS[0])
    parts = (
        model,
        make_optimizer(OPTIMIZERS[0], model),
        make_loss(LossConfig(name="nll"), torch.arange(8), 8),
        torch.float32,
    )
    assert type(make_step(*parts)) is Step
    assert isinstance(make_step(*parts, capture=4), CapturedStep)


@pytest.mark.parametrize("graphs", [None, Recorder()], ids=["plain", "captured"])
def test_a_step_with_weights_keeps_the_losses_of_images_and_weighs_them(
    graphs: Recorder | None,
) -> None:
    weighted = LossConfig(name="weighted_cross_entropy")
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (BATCH, 28, 28, 3), generator=generator, dtype=torch.uint8)
    labels = torch.arange(BATCH) % 8
    for config in (weighted, LossConfig(name="cross_entropy")):
        step = make(MODELS[0], OPTIMIZERS[0], graphs)
        step.loss = make_loss(config, torch.tensor([0, 0, 0, 1, 2, 3, 4, 5, 6, 7]), 8)
        step.model.eval()  # a batch's own statistics would make an image's loss depend on the others
        with torch.no_grad():
            logits = step.model(scale(images, torch.float32))
        losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        classes = step.loss.weights[labels] if step.loss.weights is not None else torch.ones(BATCH)
        weights = torch.rand(BATCH, generator=generator)
        loss = step(images, labels, weights)
        torch.testing.assert_close(step.image_losses, classes * losses)
        expected = (weights * classes * losses).sum() / (weights * classes).sum()
        torch.testing.assert_close(loss, expected)
