"""Training on a CUDA device, simple things first. Nothing of it has run on a device yet."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from bloodsearch.models import CNNConfig, MLPConfig, Shape, build_model
from bloodsearch.search import doctor
from bloodsearch.search.training.config import LossConfig, OptimizerConfig, TrialConfig
from bloodsearch.search.training.device import DeviceData, Precision, choose_precision
from bloodsearch.search.training.endings import OutOfMemory
from bloodsearch.search.training.fit import fit
from bloodsearch.search.training.losses import make_loss
from bloodsearch.search.training.optimizers import make_optimizer
from bloodsearch.search.training.schedules import lr_factor
from bloodsearch.search.training.step import CapturedStep, CudaGraphs, Step

Seen = Callable[[object], None]
CUDA = torch.device("cuda:0")
BATCH = 32
CNN = CNNConfig(widths=(8, 16), convs=2, residual=True, norm=True, head="max")
OPTIMIZERS = [
    OptimizerConfig(name="adam", lr=1e-3),
    OptimizerConfig(name="adamw", lr=1e-3, weight_decay=0.1),
    OptimizerConfig(name="sgd", lr=0.05, momentum=0.9, nesterov=True),
    OptimizerConfig(name="muon", lr=1e-3, weight_decay=0.1),
]
BASE = TrialConfig(
    model=CNN,
    optimizer=OPTIMIZERS[1],
    loss=LossConfig(name="cross_entropy"),
    schedule="one_cycle",
    augment="dihedral",
    batch_size=BATCH,
    epochs=4,
)


@pytest.fixture
def on_gpu(small: DeviceData) -> DeviceData:
    """The small data set on the first device."""
    names = ("train_images", "train_labels", "val_images", "val_labels")
    return replace(small, **{name: getattr(small, name).to(CUDA) for name in names})


def pair(config: OptimizerConfig, model_config: MLPConfig | CNNConfig = CNN) -> tuple[Step, Step]:
    """Return a plain and a captured step of two models with the same weights, in float32."""
    torch.manual_seed(0)
    model = build_model(model_config).to(CUDA).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    loss = make_loss(LossConfig(name="cross_entropy"), torch.arange(8, device=CUDA), 8)
    twin = copy.deepcopy(model)
    plain = Step(model, make_optimizer(config, model), loss, torch.float32)
    captured = CapturedStep(
        twin,
        make_optimizer(config, twin),
        loss,
        torch.float32,
        batch_size=BATCH,
        graphs=CudaGraphs(),
    )
    return plain, captured


def train(step: Step, n_steps: int, *, lr: float = 1e-3, n_channels: int = 3) -> list[float]:
    """Train on random batches. The last is a short one."""
    generator = torch.Generator().manual_seed(1)
    losses = []
    for i in range(n_steps):
        size = BATCH if i + 1 < n_steps else 5
        images = torch.randint(
            256, (size, 28, 28, n_channels), generator=generator, dtype=torch.uint8
        )
        labels = torch.randint(8, (size,), generator=generator)
        step.set_lr(lr * lr_factor("one_cycle", i / n_steps))
        losses.append(step(images.to(CUDA), labels.to(CUDA)))
    return [float(loss) for loss in losses]


@pytest.mark.gpu(expected="the device by name, training in bfloat16 if it has it")
def test_doctor_names_the_device(seen: Seen) -> None:
    (check,) = doctor._check_devices()
    seen(f"{torch.cuda.get_device_name(CUDA)}: {check.finding}")
    assert "cuda:0" in check.finding
    assert choose_precision(CUDA) in check.finding


@pytest.mark.gpu(expected="losses and weights of 50 steps equal with and without capture")
@pytest.mark.parametrize("config", OPTIMIZERS, ids=lambda o: o.name)
def test_a_captured_step_trains_as_a_plain_one(config: OptimizerConfig, seen: Seen) -> None:
    plain, captured = pair(config)
    wanted, losses = train(plain, 50, lr=config.lr), train(captured, 50, lr=config.lr)
    assert isinstance(captured, CapturedStep)
    assert not captured.failed
    distance = max(
        float((value - captured.model.state_dict()[name]).abs().max())
        for name, value in plain.model.state_dict().items()
    )
    seen(f"loss {losses[-1]:.5f} and {wanted[-1]:.5f}, weights differ by {distance:.1e}")
    assert losses == pytest.approx(wanted, rel=1e-2)


@pytest.mark.gpu(expected="images of one channel train, with and without capture")
@pytest.mark.parametrize("config", OPTIMIZERS, ids=lambda o: o.name)
def test_grey_images(config: OptimizerConfig, seen: Seen) -> None:
    grey = CNN.model_copy(update={"shape": Shape(size=28, channels=1, classes=8)})
    losses = [train(step, 8, lr=config.lr, n_channels=1)[-1] for step in pair(config, grey)]
    seen(f"loss {losses[1]:.5f} and {losses[0]:.5f}")
    assert losses[1] == pytest.approx(losses[0], rel=1e-2)


def wait_for_the_device(loss: torch.Tensor) -> None:
    loss.detach().item()


def use_up_memory(loss: torch.Tensor) -> None:
    if torch.cuda.is_current_stream_capturing():
        torch.empty(2**50, device=CUDA)


@pytest.mark.gpu(
    expected="training goes on without the graph, with dropout; the next capture works"
)
@pytest.mark.parametrize("fault", [wait_for_the_device, use_up_memory], ids=lambda f: f.__name__)
def test_a_failed_capture(fault: Callable[[torch.Tensor], None], seen: Seen) -> None:
    model = MLPConfig(widths=(64,), dropout=0.5)
    _, captured = pair(OPTIMIZERS[0], model)
    assert isinstance(captured, CapturedStep)
    right = captured.loss

    def faulty(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = right(logits, labels)
        fault(loss)
        return loss

    captured.loss = faulty  # type: ignore[assignment]
    losses = train(captured, 10)
    stream = torch.cuda.current_stream(CUDA)
    _, following = pair(OPTIMIZERS[0], model)
    assert isinstance(following, CapturedStep)
    train(following, 10)
    seen(f"failed: {captured.failed}, then {following.failed}; last loss {losses[-1]:.3f}")
    assert captured.failed
    assert not following.failed
    assert math.isfinite(losses[-1])
    assert stream == torch.cuda.default_stream(CUDA)


@pytest.mark.gpu(expected="another loss at each replay of one batch at a learning rate of 0")
def test_dropout_draws_another_mask_at_each_replay(seen: Seen) -> None:
    _, captured = pair(OPTIMIZERS[0], MLPConfig(widths=(64,), dropout=0.5))
    images = torch.full((BATCH, 28, 28, 3), 100, dtype=torch.uint8, device=CUDA)
    labels = torch.arange(BATCH, device=CUDA) % 8
    captured.set_lr(0.0)
    losses = [float(captured(images, labels)) for _ in range(10)]
    seen(f"{len(set(losses[4:]))} losses in 6 replays")
    assert len(set(losses[4:])) == 6


@pytest.mark.gpu(expected="no weight moves at a rate of 0, all move at 0.1, in one graph")
def test_a_graph_reads_the_learning_rate(seen: Seen) -> None:
    _, captured = pair(OptimizerConfig(name="sgd", lr=0.1))
    train(captured, 6)
    images = torch.randint(256, (BATCH, 28, 28, 3), dtype=torch.uint8, device=CUDA)
    labels = torch.arange(BATCH, device=CUDA) % 8
    moved = []
    for lr in (0.0, 0.1):
        before = [p.detach().clone() for p in captured.model.parameters()]
        captured.set_lr(lr)
        captured(images, labels)
        after = [p.detach() for p in captured.model.parameters()]
        moved.append(max(float((a - b).abs().max()) for a, b in zip(after, before, strict=True)))
    seen(f"largest change {moved[0]:.1e} at 0, {moved[1]:.1e} at 0.1")
    assert moved[0] == 0 < moved[1]


@pytest.mark.gpu(
    expected="the loss falls in each of 4 epochs of bfloat16, within 5 % of no capture"
)
def test_no_cached_cast_goes_stale(on_gpu: DeviceData, seen: Seen) -> None:
    curves: list[list[float]] = []
    for cuda_graph in (False, True):
        result = fit(BASE, on_gpu, seed=3, precision="bfloat16", cuda_graph=cuda_graph)
        curves.append([epoch.train_loss for epoch in result.history])
    seen(f"{[round(v, 3) for v in curves[1]]}, without capture {[round(v, 3) for v in curves[0]]}")
    assert curves[1] == sorted(curves[1], reverse=True)
    assert curves[1] == pytest.approx(curves[0], rel=0.05)


@pytest.mark.gpu(expected="short batches, validation and patience as without capture, within 5 %")
def test_what_runs_outside_the_graph(on_gpu: DeviceData, seen: Seen) -> None:
    config = BASE.model_copy(update={"batch_size": 48, "epochs": 40, "patience": 2})
    assert len(on_gpu.train_images) % config.batch_size
    results = [
        fit(config, on_gpu, seed=3, precision="float32", cuda_graph=cuda_graph)
        for cuda_graph in (False, True)
    ]
    losses = [[epoch.val_loss for epoch in result.history[:3]] for result in results]
    ends = [(result.reason, len(result.history)) for result in results]
    seen(f"validation losses {losses[1]} and {losses[0]}, ends {ends[1]} and {ends[0]}")
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    assert {reason for reason, _ in ends} == {"patience"}


@pytest.mark.gpu(expected="OutOfMemory, then the next training works and memory is given back")
@pytest.mark.parametrize("cuda_graph", [False, True], ids=["plain", "captured"])
def test_too_large_a_model(on_gpu: DeviceData, cuda_graph: bool, seen: Seen) -> None:
    fit(BASE, on_gpu, seed=0, cuda_graph=cuda_graph)
    before = torch.cuda.memory_reserved(CUDA)
    huge = MLPConfig(widths=(8192,) * 8)
    config = BASE.model_copy(update={"model": huge})
    torch.cuda.set_per_process_memory_fraction(0.02)
    try:
        with pytest.raises(OutOfMemory):
            fit(config, on_gpu, seed=0, cuda_graph=cuda_graph)
        at_once = torch.cuda.memory_reserved(CUDA)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    result = fit(BASE, on_gpu, seed=0, cuda_graph=cuda_graph)
    after = torch.cuda.memory_reserved(CUDA)
    mib = [round(n_bytes / 2**20) for n_bytes in (before, at_once, after)]
    seen(f"MiB reserved before, at once, after the next training: {mib}")
    assert len(result.history) == BASE.epochs
    assert max(mib) <= mib[0] + 32


@pytest.mark.gpu(expected="no growth of reserved memory over 20 mixed trainings")
def test_memory_does_not_grow(on_gpu: DeviceData, seen: Seen) -> None:
    reserved = []
    for i in range(20):
        model = MLPConfig(widths=(64 + i,)) if i % 2 else CNNConfig(widths=(8 + i, 16), norm=True)
        config = BASE.model_copy(update={"model": model, "epochs": 1})
        fit(config, on_gpu, seed=i, cuda_graph=i % 3 == 0)
        reserved.append(torch.cuda.memory_reserved(CUDA) / 2**20)
    seen(f"{reserved[3]:.0f} MiB after 4, {reserved[-1]:.0f} after 20")
    assert reserved[-1] <= reserved[3] + 32


@pytest.mark.gpu(expected="the curve of a resumed training within 2 %")
@pytest.mark.parametrize("cuda_graph", [False, True], ids=["plain", "captured"])
def test_a_resumed_training(on_gpu: DeviceData, cuda_graph: bool, seen: Seen) -> None:
    saved: list[Any] = []
    whole = fit(
        BASE,
        on_gpu,
        seed=3,
        cuda_graph=cuda_graph,
        save_checkpoint=lambda c: saved.append(copy.deepcopy(c)),
    )
    resumed = fit(BASE, on_gpu, seed=3, cuda_graph=cuda_graph, resume=saved[1])
    losses = [[epoch.train_loss for epoch in r.history] for r in (whole, resumed)]
    seen(f"last loss {losses[0][-1]:.5f} and {losses[1][-1]:.5f}")
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.gpu(expected="the losses of bfloat16 within 10 % of those of float32")
def test_bfloat16_agrees_with_float32(on_gpu: DeviceData, seen: Seen) -> None:
    precisions: tuple[Precision, ...] = ("bfloat16", "float32")
    half, full = (
        [epoch.train_loss for epoch in fit(BASE, on_gpu, seed=3, precision=precision).history]
        for precision in precisions
    )
    seen(f"last loss {half[-1]:.4f} and {full[-1]:.4f}")
    assert half == pytest.approx(full, rel=0.1)


def nondeterministic(data: DeviceData) -> list[str]:
    """The operations of a training that torch knows as not deterministic."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            fit(BASE.model_copy(update={"epochs": 1}), data, seed=3)
        finally:
            torch.use_deterministic_algorithms(False)
    return sorted({str(warning.message).split(" does not have")[0] for warning in found})


@pytest.mark.gpu(expected="two trainings of one seed are equal to the bit")
def test_one_seed_gives_one_curve(on_gpu: DeviceData, seen: Seen) -> None:
    first, second = (
        [epoch.train_loss for epoch in fit(BASE, on_gpu, seed=3).history] for _ in range(2)
    )
    by = f"last losses {first[-1]:.7f} and {second[-1]:.7f}, by {nondeterministic(on_gpu)}"
    seen("equal" if first == second else by)
    assert first == second
