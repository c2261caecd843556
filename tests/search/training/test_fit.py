"""The training loop: repeatable, resumable to the bit, and clear about how it ended."""

from __future__ import annotations

import contextlib
import math
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bloodsearch.models import CNNConfig, MLPConfig, build_model
from bloodsearch.search.training import checkpoint, loop
from bloodsearch.search.training import fit as fit_module
from bloodsearch.search.training import predict as predict_module
from bloodsearch.search.training import step as step_module
from bloodsearch.search.training.augment import augment_epoch
from bloodsearch.search.training.config import LossConfig, OptimizerConfig, TrialConfig
from bloodsearch.search.training.device import DeviceData
from bloodsearch.search.training.endings import Diverged, Drained, OtherTraining, OutOfMemory
from bloodsearch.search.training.fit import EpochResult, FitResult, fit
from bloodsearch.search.training.metrics import confusion_on_device, scores
from bloodsearch.search.training.predict import predict_logits, scale

MLP = MLPConfig(widths=(32,), dropout=0.3)
CNN = CNNConfig(widths=(8, 8), norm=True, head="mean", dropout=0.2)
ADAM = OptimizerConfig(name="adam", lr=3e-3)
ADAMW = OptimizerConfig(name="adamw", lr=3e-3, weight_decay=0.05)
MUON = OptimizerConfig(name="muon", lr=3e-3, weight_decay=0.05)
SGD = OptimizerConfig(name="sgd", lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3)
CE = LossConfig(name="cross_entropy")
BASE = TrialConfig(model=MLP, optimizer=ADAM, loss=CE, batch_size=48, epochs=4)


def config(**changes: Any) -> TrialConfig:
    return TrialConfig.model_validate({**dict(BASE), **changes})


def train(config: TrialConfig, data: DeviceData, *, seed: int = 7, **options: Any) -> FitResult:
    return fit(config, data, seed=seed, precision="float32", **options)


def curve(result: FitResult) -> list[EpochResult]:
    """The history without the times."""
    return [replace(epoch, seconds=0.0) for epoch in result.history]


# Each holds something that a resume must carry over: dropout's generator, running averages,
# augmentation's generator, moments, the learning rate's place in its cycle.
CONFIGS = {
    "mlp-dropout-adam": config(),
    "mlp-norm-adamw-one-cycle": config(
        model=MLPConfig(widths=(32,), norm=True, dropout=0.3), optimizer=ADAMW, schedule="one_cycle"
    ),
    "cnn-norm-average-adamw": config(model=CNN, optimizer=ADAMW, ema=0.9),
    "cnn-norm-sgd-cosine-dihedral": config(
        model=CNN, optimizer=SGD, schedule="cosine", augment="dihedral", shift=2
    ),
    "cnn-residual-adam-weighted-flips": config(
        model=CNNConfig(widths=(8,), convs=2, residual=True, hidden=(16,), dropout=0.2),
        loss=LossConfig(name="weighted_cross_entropy", label_smoothing=0.1),
        augment="flips",
    ),
    "mlp-skip-easy-weighted": config(
        skip_easy=0.75, batch_size=16, loss=LossConfig(name="weighted_cross_entropy")
    ),
    "cnn-muon-one-cycle": config(model=CNN, optimizer=MUON, schedule="one_cycle"),
    "mlp-focal-shift-patience": config(
        loss=LossConfig(name="focal", gamma=1.5), shift=1, patience=3
    ),
}


@pytest.fixture(params=CONFIGS)
def any_config(request: pytest.FixtureRequest) -> TrialConfig:
    return CONFIGS[request.param]


def test_one_seed_gives_one_training_and_another_seed_another(
    any_config: TrialConfig, small: DeviceData
) -> None:
    first = train(any_config, small)
    torch.randn(3)  # what happened to torch's generator before does not matter
    second, other = train(any_config, small), train(any_config, small, seed=8)
    assert curve(first) == curve(second)
    np.testing.assert_array_equal(first.best_confusion, second.best_confusion)
    assert curve(first) != curve(other)


@pytest.mark.parametrize("after", [1, 3])
def test_a_resumed_training_is_the_uninterrupted_one(
    any_config: TrialConfig, small: DeviceData, tmp_path: Path, after: int
) -> None:
    path = tmp_path / "trial-1.pt"
    saved: list[int] = []

    def save(payload: dict[str, Any]) -> None:
        saved.append(len(payload["history"]))
        if saved[-1] == after:
            checkpoint.save(path, payload)

    whole = train(any_config, small, save_checkpoint=save, keep="best")
    assert saved == [1, 2, 3]  # none after the last epoch: the trial is over then
    torch.manual_seed(99)
    epochs: list[int] = []
    resumed = train(
        any_config,
        small,
        resume=checkpoint.load(path),
        keep="best",
        on_epoch=lambda result: epochs.append(result.epoch),
    )
    assert epochs == list(range(after, 5))  # the last one told again, not run again
    assert curve(resumed) == curve(whole)
    assert (resumed.best_epoch, resumed.best_value) == (whole.best_epoch, whole.best_value)
    np.testing.assert_array_equal(resumed.best_confusion, whole.best_confusion)
    assert whole.state is not None
    assert resumed.state is not None
    for name, tensor in whole.state.items():
        assert torch.equal(resumed.state[name], tensor), name
    # the times of the epochs before the interruption are kept
    assert [epoch.seconds for epoch in resumed.history[:after]] == [
        epoch.seconds for epoch in whole.history[:after]
    ]


def test_a_training_drained_within_an_epoch_resumes_at_its_beginning(
    small: DeviceData, tmp_path: Path
) -> None:
    path, path_config = tmp_path / "trial-1.pt", CONFIGS["cnn-norm-sgd-cosine-dihedral"]
    whole = train(path_config, small)
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == 6 + 3  # six batches an epoch: in the middle of the second

    with pytest.raises(Drained):
        train(
            path_config,
            small,
            should_stop=stop,
            save_checkpoint=lambda payload: checkpoint.save(path, payload),
        )
    assert asked == 9
    assert curve(train(path_config, small, resume=checkpoint.load(path))) == curve(whole)


@pytest.mark.parametrize("change", ["config", "seed", "data", "precision"])
def test_a_checkpoint_of_another_training_is_refused(
    small: DeviceData, tmp_path: Path, change: str
) -> None:
    saved: list[dict[str, Any]] = []
    train(config(epochs=2), small, save_checkpoint=saved.append)
    other = config(epochs=3 if change == "config" else 2)
    data = small
    if change == "data":
        data = replace(small, fingerprint=replace(small.fingerprint, content_hash="other"))
    with pytest.raises(ValueError, match="another configuration, seed or data set"):
        fit(
            other,
            data,
            seed=8 if change == "seed" else 7,
            precision="bfloat16" if change == "precision" else "float32",
            resume=saved[0],
        )


def scripted(monkeypatch: pytest.MonkeyPatch, values: list[float]) -> None:
    """Make the epochs' validation macro-F1 be `values`."""
    left = iter(values)
    monkeypatch.setattr(
        loop, "scores", lambda confusion: replace(scores(confusion), macro_f1=next(left))
    )


@pytest.mark.parametrize(
    ("values", "patience", "n_epochs", "best", "reason"),
    [
        ([0.3, 0.5, 0.4, 0.5, 0.4, 0.9], 2, 4, (2, 0.5), "patience"),  # equal is not better
        ([0.3, 0.5, 0.4, 0.6, 0.5, 0.5], 2, 6, (4, 0.6), "patience"),
        ([0.3, 0.5, 0.4, 0.6, 0.5, 0.7], 2, 6, (6, 0.7), "epochs"),
        ([0.9, 0.1, 0.1, 0.1, 0.1, 0.1], 0, 6, (1, 0.9), "epochs"),
        ([0.9, 0.1, 0.1, 0.1, 0.1, 0.1], 1, 2, (1, 0.9), "patience"),
        ([0.0, 0.0, 0.1, 0.0, 0.0, 0.0], 5, 6, (3, 0.1), "epochs"),
    ],
)
def test_patience_ends_a_training_with_its_best_value(
    small: DeviceData,
    monkeypatch: pytest.MonkeyPatch,
    values: list[float],
    patience: int,
    n_epochs: int,
    best: tuple[int, float],
    reason: str,
) -> None:
    scripted(monkeypatch, values)
    result = train(config(epochs=6, patience=patience, batch_size=256), small)
    assert [epoch.val_macro_f1 for epoch in result.history] == values[:n_epochs]
    assert (result.best_epoch, result.best_value) == best
    assert result.reason == reason


@pytest.mark.parametrize(
    ("min_epochs", "n_epochs", "best", "reason"),
    [
        (0, 3, 1, "patience"),
        (3, 3, 1, "patience"),
        (4, 6, 4, "patience"),
        (5, 6, 4, "patience"),
        (9, 6, 4, "epochs"),
    ],
)
def test_patience_waits_for_min_epochs(
    small: DeviceData,
    monkeypatch: pytest.MonkeyPatch,
    min_epochs: int,
    n_epochs: int,
    best: int,
    reason: str,
) -> None:
    scripted(monkeypatch, [0.5, 0.4, 0.4, 0.6, 0.5, 0.5])
    impatient = config(epochs=6, patience=2, min_epochs=min_epochs, batch_size=256)
    result = train(impatient, small)
    assert (len(result.history), result.best_epoch) == (n_epochs, best)
    assert result.reason == reason


def test_a_training_out_of_patience_ends_at_once_when_it_is_resumed(
    small: DeviceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(monkeypatch, [0.5, 0.4, 0.3])
    saved: list[dict[str, Any]] = []
    impatient = config(epochs=6, patience=2, batch_size=256)
    train(impatient, small, save_checkpoint=saved.append)
    result = train(impatient, small, resume=saved[-1])  # a fourth epoch would ask for a value
    assert (len(result.history), result.best_value, result.reason) == (3, 0.5, "patience")


def test_what_on_epoch_raises_ends_the_training(small: DeviceData) -> None:
    class Enough(Exception):
        pass

    seen: list[EpochResult] = []

    def on_epoch(result: EpochResult) -> None:
        seen.append(result)
        if result.epoch == 2:
            raise Enough

    saved: list[dict[str, Any]] = []
    with pytest.raises(Enough):
        train(config(), small, on_epoch=on_epoch, save_checkpoint=saved.append)
    assert [result.epoch for result in seen] == [1, 2]
    assert len(saved) == 1  # an epoch that its caller did not accept leaves no checkpoint


def test_drained_on_epoch_keeps_the_epoch(small: DeviceData) -> None:
    """The storage went away with the report: the epoch is not lost, and is told when it is resumed."""
    whole = train(config(epochs=3), small)
    for last in (2, 3):
        saved: list[dict[str, Any]] = []

        def on_epoch(result: EpochResult, last: int = last) -> None:
            if result.epoch == last:
                raise Drained

        with pytest.raises(Drained):
            train(config(epochs=3), small, on_epoch=on_epoch, save_checkpoint=saved.append)
        told: list[int] = []
        resumed = train(
            config(epochs=3),
            small,
            resume=saved[-1],
            on_epoch=lambda result, told=told: told.append(result.epoch),
        )
        assert told == list(range(last, 4))
        assert curve(resumed) == curve(whole)


def test_should_stop_is_asked_before_every_batch(small: DeviceData) -> None:
    asked: list[None] = []

    def stop() -> bool:
        asked.append(None)
        return False

    train(config(epochs=2), small, should_stop=stop)
    assert len(asked) == 2 * math.ceil(256 / 48)
    with pytest.raises(Drained):
        train(config(), small, should_stop=lambda: True)


@pytest.mark.parametrize("model", [MLP, CNN, CNNConfig(widths=(8,))], ids=["mlp", "norm", "cnn"])
def test_a_training_that_diverges_says_so(small: DeviceData, model: MLPConfig | CNNConfig) -> None:
    # beyond what a configuration admits, so that every model goes within an epoch
    reckless = SGD.model_copy(update={"lr": 1e30})
    with pytest.raises(Diverged, match="in epoch 1"):
        train(config(model=model).model_copy(update={"optimizer": reckless}), small)


def test_weights_that_are_no_numbers_do_not_hide_behind_a_relu(
    small: DeviceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(config: Any) -> nn.Module:
        model = build_model(config)
        with torch.no_grad():
            model.get_parameter("blocks.0.conv1.weight").fill_(-math.nan)
        return model

    monkeypatch.setattr(loop, "build_model", broken)
    with pytest.raises(Diverged, match="in epoch 1"):
        train(config(model=CNNConfig(widths=(8,))), small)


def failing(error: BaseException) -> Callable[..., None]:
    def forward(self: nn.Module, images: torch.Tensor) -> None:
        raise error

    return forward


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        MemoryError(),
    ],
    ids=["cpu", "mps", "cuda", "python"],
)
def test_lack_of_memory_is_one_exception(
    small: DeviceData, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr("bloodsearch.models.mlp.MLP.forward", failing(error))
    with pytest.raises(OutOfMemory):
        train(config(), small)


@pytest.mark.parametrize("error", [None, KeyError("pruned"), MemoryError()], ids=repr)
def test_the_model_is_gone_when_memory_is_given_back(
    small: DeviceData, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    models: list[weakref.ref[nn.Module]] = []
    left: list[nn.Module | None] = []

    def build(config: Any) -> nn.Module:
        model = build_model(config)
        models.append(weakref.ref(model))
        return model

    @contextlib.contextmanager
    def memory(device: torch.device) -> Iterator[None]:
        try:
            yield
        finally:
            left.append(models[0]())

    def on_epoch(result: EpochResult) -> None:
        if error is not None:
            raise error

    monkeypatch.setattr(loop, "build_model", build)
    monkeypatch.setattr(fit_module, "training_memory", memory)
    with contextlib.suppress(KeyError, OutOfMemory):
        train(config(), small, on_epoch=on_epoch)
    assert left == [None]


def test_a_real_lack_of_memory(small: DeviceData, monkeypatch: pytest.MonkeyPatch) -> None:
    # a layer of a petabyte, so that torch's own allocator refuses
    monkeypatch.setattr(loop, "build_model", lambda config: nn.Linear(1 << 25, 1 << 23))
    with pytest.raises(OutOfMemory):
        train(config(), small)


def test_other_errors_are_left_as_they_are(
    small: DeviceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "bloodsearch.models.mlp.MLP.forward", failing(RuntimeError("shapes do not match"))
    )
    with pytest.raises(RuntimeError, match="shapes do not match"):
        train(config(), small)


@pytest.mark.parametrize("model", [MLP, CNN], ids=["mlp", "cnn"])
def test_keep_best_returns_the_weights_of_the_best_epoch(
    small: DeviceData, model: MLPConfig | CNNConfig
) -> None:
    # ends after the first epoch that is not the best, so that the best is not the last
    result = train(config(model=model, epochs=40, patience=1), small, keep="best")
    values = [epoch.val_macro_f1 for epoch in result.history]
    assert result.best_value == max(values)
    assert result.best_epoch == values.index(max(values)) + 1
    assert result.best_epoch == len(values) - 1
    best = build_model(model)
    assert result.state is not None
    best.load_state_dict(result.state)
    logits = predict_logits(best, small.val_images, torch.float32)
    confusion = confusion_on_device(small.val_labels, logits.argmax(dim=1), 8).numpy()
    assert scores(confusion).macro_f1 == pytest.approx(result.best_value, abs=1e-12)
    np.testing.assert_array_equal(confusion, result.best_confusion)


@pytest.mark.parametrize(
    ("values", "same"), [((0.9, 0.5, 0.6, 0.7), False), ((0.1, 0.2, 0.3, 0.9), True)]
)
def test_keep_last_returns_the_weights_of_the_last_epoch(
    small: DeviceData, monkeypatch: pytest.MonkeyPatch, values: tuple[float, ...], same: bool
) -> None:
    states = []
    for keep in ("best", "last"):
        scripted(monkeypatch, list(values))
        state = train(config(), small, keep=keep).state
        assert state is not None
        states.append(state)
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0]) == same


def test_weights_are_kept_on_request_only(small: DeviceData) -> None:
    assert train(config(epochs=1), small).state is None


@pytest.mark.parametrize("model", [MLP, CNN], ids=["mlp", "cnn"])
def test_it_learns(small: DeviceData, model: MLPConfig | CNNConfig) -> None:
    result = train(config(model=model, optimizer=ADAMW, epochs=12, batch_size=32), small)
    losses = [epoch.train_loss for epoch in result.history]
    assert losses[-1] < 0.8 * losses[0]
    assert result.best_value > 0.3  # by chance: about 0.1
    assert result.n_parameters == sum(p.numel() for p in build_model(model).parameters())


def test_epochs_report_what_they_did(small: DeviceData) -> None:
    seen: list[EpochResult] = []
    result = train(config(), small, on_epoch=seen.append)
    assert seen == result.history
    assert [epoch.epoch for epoch in seen] == [1, 2, 3, 4]
    assert result.reason == "epochs"
    assert result.seconds == pytest.approx(sum(epoch.seconds for epoch in seen))
    for epoch in seen:
        assert 0 <= epoch.val_macro_f1 <= 1
        assert 0 <= epoch.val_accuracy <= 1
        assert epoch.train_loss > 0
    accuracy = np.trace(result.best_confusion) / 128
    assert result.history[result.best_epoch - 1].val_accuracy == pytest.approx(accuracy)


def test_without_augmentation_no_image_is_copied(
    small: DeviceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []
    original = augment_epoch

    def count(*args: Any, **options: Any) -> Any:
        calls.append(options)
        return original(*args, **options)

    monkeypatch.setattr(loop, "augment_epoch", count)
    train(config(epochs=2), small)
    assert calls == []
    train(config(epochs=2, shift=1), small)
    assert [(call["augment"], call["shift"]) for call in calls] == [("none", 1)] * 2


def test_every_image_is_trained_on_once_an_epoch(
    small: DeviceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []
    original = scale

    def record(images: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        seen.append(images)
        return original(images, dtype)

    monkeypatch.setattr(step_module, "scale", record)
    monkeypatch.setattr(predict_module, "scale", record)
    train(config(epochs=1), small)
    assert [len(batch) for batch in seen] == [48, 48, 48, 48, 48, 16, 128]  # then validation
    trained = sorted(image.numpy().tobytes() for batch in seen[:-1] for image in batch)
    assert trained == sorted(image.numpy().tobytes() for image in small.train_images)
    assert torch.equal(seen[-1], small.val_images)
    assert not torch.equal(torch.cat(seen[:-1]), small.train_images)  # shuffled


def test_validation_never_changes_the_training(small: DeviceData) -> None:
    # other validation images: the same training losses, although BatchNorm and dropout are used
    other = replace(
        small, val_images=small.val_images.flip(0)[:50], val_labels=small.val_labels[:50]
    )
    for trial in (CONFIGS["cnn-norm-sgd-cosine-dihedral"], CONFIGS["mlp-dropout-adam"]):
        first, second = train(trial, small), train(trial, other)
        assert [epoch.train_loss for epoch in first.history] == [
            epoch.train_loss for epoch in second.history
        ]


def test_the_learning_rate_follows_the_schedule_over_all_steps(
    small: DeviceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def record(schedule: str, progress: float) -> float:
        asked.append(progress)
        return 0.5

    monkeypatch.setattr(loop, "lr_factor", record)
    train(config(epochs=3, schedule="one_cycle"), small)
    assert asked[0] == 0
    assert asked[-1] == 1
    assert asked == pytest.approx(np.linspace(0, 1, 3 * 6))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scale_maps_bytes_to_minus_one_to_one(dtype: torch.dtype) -> None:
    images = torch.arange(256, dtype=torch.uint8).repeat(28 * 28 * 3).reshape(-1, 28, 28, 3)
    scaled = scale(images, dtype)
    assert scaled.shape == (256, 3, 28, 28)
    assert scaled.dtype == dtype
    assert scaled.is_contiguous(memory_format=torch.channels_last)
    assert float(scaled.min()) == -1
    assert float(scaled.max()) == 1
    exact = images.permute(0, 3, 1, 2).double() / 127.5 - 1
    tolerance = 1e-6 if dtype == torch.float32 else 0.25 / 127.5  # a quarter of a grey level
    assert float((scaled.double() - exact).abs().max()) <= tolerance
    assert int(images.max()) == 255  # the bytes themselves are left alone


@pytest.mark.parametrize("model", [MLP, CNN], ids=["mlp", "cnn"])
def test_predictions_do_not_depend_on_the_batch_size(
    small: DeviceData, model: MLPConfig | CNNConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = build_model(model).train()
    found = []
    for size in (1024, 50, 1):
        monkeypatch.setattr(predict_module, "EVALUATION_BATCH", size)
        found.append(predict_logits(network, small.val_images, torch.float32))
    assert not network.training  # neither dropout nor the batch's own statistics
    assert found[0].dtype == torch.float32
    assert not found[0].requires_grad
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", [MLP, CNN], ids=["mlp", "cnn"])
def test_bfloat16_trains_about_as_well(small: DeviceData, model: MLPConfig | CNNConfig) -> None:
    trial = config(model=model, optimizer=ADAMW, epochs=3, batch_size=32)
    half = fit(trial, small, seed=7, precision="bfloat16")
    full = fit(trial, small, seed=7, precision="float32")
    assert half.history[-1].train_loss == pytest.approx(full.history[-1].train_loss, rel=0.1)
    assert curve(half) == curve(fit(trial, small, seed=7, precision="bfloat16"))


def test_last_batch_of_one_image_is_left_out(small: DeviceData) -> None:
    """BatchNorm refuses a batch of one."""
    batch_size = len(small.train_images) - 1
    trial = config(model={"arch": "mlp", "widths": [8], "norm": True}, batch_size=batch_size)
    assert train(trial, small).best_epoch >= 1


def test_batch_norm_statistics_that_are_no_numbers_end_a_training(
    small: DeviceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights and losses may stay finite while a running variance overflows."""
    original = loop.Training._train_epoch

    def overflow(self: loop.Training, *args: Any) -> float:
        loss = original(self, *args)
        norm = next(m for m in self.model.modules() if isinstance(m, nn.BatchNorm2d))
        assert norm.running_var is not None
        norm.running_var[0] = math.inf  # the channel is 0 from now on, so the loss is finite
        return loss

    monkeypatch.setattr(loop.Training, "_train_epoch", overflow)
    with pytest.raises(Diverged, match="in epoch 1"):
        train(config(model=CNN, optimizer=SGD), small)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_a_training_validated_in_float32_has_the_value_that_its_weights_give(
    small: DeviceData, keep: Any
) -> None:
    case = config(model=CNN, optimizer=ADAM, epochs=2)
    result = fit(case, small, seed=7, keep=keep, precision="bfloat16", val_precision="float32")
    model = build_model(case.model)
    assert result.state is not None
    model.load_state_dict(result.state)
    logits = predict_logits(
        model.to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        small.val_images,
        torch.float32,
    )
    loss = float(torch.nn.functional.cross_entropy(logits, small.val_labels))
    epoch = result.history[-1 if keep == "last" else result.best_epoch - 1]
    assert epoch.val_loss == pytest.approx(loss, abs=1e-6)
    # the training itself is the same, bit for bit
    plain = fit(case, small, seed=7, precision="bfloat16")
    assert [e.train_loss for e in plain.history] == [e.train_loss for e in result.history]
    assert [e.val_loss for e in plain.history] != [e.val_loss for e in result.history]


def test_a_checkpoint_validated_in_another_precision_is_another_training(
    small: DeviceData,
) -> None:
    saved: list[Any] = []
    case = config(epochs=2)
    fit(case, small, seed=7, precision="bfloat16", save_checkpoint=saved.append)
    with pytest.raises(OtherTraining):
        fit(case, small, seed=7, precision="bfloat16", val_precision="float32", resume=saved[-1])
    # a precision that is named but not another is the same training
    fit(case, small, seed=7, precision="bfloat16", val_precision="bfloat16", resume=saved[-1])
