"""Losses against oracles written another way: torch's module and plain numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bloodsearch.search.training.config import LossConfig
from bloodsearch.search.training.losses import class_weights, focal_losses, make_loss, weighted_mean

TRAIN_LABELS = torch.arange(8).repeat_interleave(torch.tensor([1, 2, 3, 4, 5, 6, 7, 8]))


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(64, 8, generator=generator)
    return logits, torch.randint(8, (64,), generator=generator)


def softmax(logits: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    x = logits.double().numpy()
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def probability(
    logits: torch.Tensor, labels: torch.Tensor
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.asarray(softmax(logits)[np.arange(len(labels)), labels.numpy()])


Batch = tuple[torch.Tensor, torch.Tensor]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_torchs(batch: Batch, smoothing: float) -> None:
    loss = make_loss(LossConfig(name="cross_entropy", label_smoothing=smoothing), TRAIN_LABELS, 8)
    torch.testing.assert_close(
        loss(*batch), torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(*batch)
    )


def test_cross_entropy_is_the_mean_negative_log_probability(batch: Batch) -> None:
    loss = make_loss(LossConfig(name="cross_entropy"), TRAIN_LABELS, 8)
    assert float(loss(*batch)) == pytest.approx(-np.log(probability(*batch)).mean(), rel=1e-6)


def test_label_smoothing_is_cross_entropy_against_a_softened_target(batch: Batch) -> None:
    loss = make_loss(LossConfig(name="cross_entropy", label_smoothing=0.2), TRAIN_LABELS, 8)
    logits, labels = batch
    target = np.full((64, 8), 0.2 / 8)
    target[np.arange(64), labels.numpy()] += 0.8
    expected = -(target * np.log(softmax(logits))).sum(axis=1).mean()
    assert float(loss(*batch)) == pytest.approx(expected, rel=1e-6)


def test_nll_on_log_softmax_equals_cross_entropy(batch: Batch) -> None:
    nll = make_loss(LossConfig(name="nll"), TRAIN_LABELS, 8)
    plain = make_loss(LossConfig(name="cross_entropy"), TRAIN_LABELS, 8)
    torch.testing.assert_close(nll(*batch), plain(*batch))


def test_weighted_cross_entropy_is_torchs_with_our_weights(batch: Batch) -> None:
    config = LossConfig(name="weighted_cross_entropy")
    oracle = torch.nn.CrossEntropyLoss(weight=class_weights(TRAIN_LABELS, 8))
    assert make_loss(config, TRAIN_LABELS, 8)(*batch) == oracle(*batch)


def test_smoothed_weighted_cross_entropy_weighs_images(batch: Batch) -> None:
    config = LossConfig(name="weighted_cross_entropy", label_smoothing=0.2)
    logits, labels = batch
    target = np.full((64, 8), 0.2 / 8)
    target[np.arange(64), labels.numpy()] += 0.8
    losses = -(target * np.log(softmax(logits))).sum(axis=1)
    weights = class_weights(TRAIN_LABELS, 8).numpy()[labels.numpy()]
    expected = (weights * losses).sum() / weights.sum()
    assert float(make_loss(config, TRAIN_LABELS, 8)(*batch)) == pytest.approx(expected, rel=1e-6)


def test_no_class_is_so_rare_that_smoothing_trains_others_towards_it() -> None:
    """PyTorch's own formula has its least loss at class 1 for an image of class 0, from a factor of 9 on."""
    labels = torch.tensor([0] * 500 + [1])
    config = LossConfig(name="weighted_cross_entropy", label_smoothing=0.2)
    loss = make_loss(config, labels, 2)
    own, other = torch.tensor([[2.0, -2.0]]), torch.tensor([[-2.0, 2.0]])
    assert loss(own, labels[:1]) < loss(other, labels[:1])


def test_weighted_cross_entropy_is_the_weighted_mean(batch: Batch) -> None:
    loss = make_loss(LossConfig(name="weighted_cross_entropy"), TRAIN_LABELS, 8)
    weights = (1 / np.arange(1, 9))[batch[1].numpy()]  # class c occurs c + 1 times
    expected = -(weights * np.log(probability(*batch))).sum() / weights.sum()
    assert float(loss(*batch)) == pytest.approx(expected, rel=1e-6)


def test_class_weights_are_inverse_frequencies_of_mean_one_over_the_images() -> None:
    weights = class_weights(TRAIN_LABELS, 8)
    counts = torch.bincount(TRAIN_LABELS).float()
    torch.testing.assert_close(weights * counts, torch.full((8,), float(36 / 8)))
    assert float(weights[TRAIN_LABELS].mean()) == pytest.approx(1)


def test_class_weights_of_a_class_without_images_are_finite() -> None:
    assert class_weights(torch.zeros(5, dtype=torch.int64), 8).isfinite().all()


@pytest.mark.parametrize(
    "config",
    [
        LossConfig(name="cross_entropy", label_smoothing=0.2),
        LossConfig(name="weighted_cross_entropy"),
        LossConfig(name="weighted_cross_entropy", label_smoothing=0.2),
        LossConfig(name="nll"),
        LossConfig(name="focal", gamma=1.5),
    ],
    ids=str,
)
def test_the_losses_of_images_have_the_batchs_loss_as_their_mean(
    batch: Batch, config: LossConfig
) -> None:
    loss = make_loss(config, TRAIN_LABELS, 8)
    losses, weights = loss.of_images(*batch)
    assert losses.shape == batch[1].shape
    assert (weights is not None) == (config.name == "weighted_cross_entropy")
    weights = torch.ones(64) if weights is None else weights
    torch.testing.assert_close(weighted_mean(losses, weights), loss(*batch))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_focal_loss_is_its_formula(batch: Batch, gamma: float) -> None:
    loss = make_loss(LossConfig(name="focal", gamma=gamma), TRAIN_LABELS, 8)
    p = probability(*batch)
    expected = -((1 - p) ** gamma * np.log(p)).mean()
    assert float(loss(*batch)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.25, 0.5, 1.0, 2.0])
def test_focal_loss_of_a_certain_prediction_has_a_finite_gradient(gamma: float) -> None:
    logits = torch.zeros(2, 8)
    logits[0, 3] = 100.0  # p rounds to 1, where (1 - p)^gamma has an infinite slope below gamma 1
    logits.requires_grad_()
    loss = focal_losses(logits, torch.tensor([3, 3]), gamma=gamma).mean()
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.isfinite().all()
    assert gradient[1].abs().sum() > 0


@pytest.mark.parametrize("name", ["cross_entropy", "weighted_cross_entropy", "nll", "focal"])
def test_losses_take_bfloat16_logits_and_compute_in_float32(batch: Batch, name: str) -> None:
    loss = make_loss(LossConfig.model_validate({"name": name}), TRAIN_LABELS, 8)
    half = batch[0].bfloat16()
    found = loss(half, batch[1])
    assert found.dtype == torch.float32
    assert torch.equal(found, loss(half.float(), batch[1]))
