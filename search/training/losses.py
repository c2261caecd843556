"""Losses: logits (n, classes) in any float type and labels (n,) int64 in, a mean scalar out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from .config import LossConfig

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def class_weights(labels: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Return inverse class frequencies (n_classes,), scaled to a mean of 1 over the training images."""
    counts = torch.bincount(labels.long(), minlength=n_classes).clamp(min=1).float()
    return counts.sum() / (n_classes * counts)


def make_loss(config: LossConfig, train_labels: torch.Tensor, n_classes: int) -> Loss:
    """Return the loss that `config` names. `nll` is log-softmax, then NLL: cross-entropy in two steps.

    Weights are those of images, by their class, with label smoothing, too. PyTorch's formula weighs the
    smoothed part by the class that it goes to instead: where classes differ by a factor of more than
    1 + classes (1 - smoothing) / smoothing, common images are then trained towards the rarest class.
    """
    if config.name == "nll":
        return lambda logits, labels: F.nll_loss(F.log_softmax(logits.float(), dim=1), labels)
    if config.name == "focal":
        return lambda logits, labels: focal_loss(logits, labels, gamma=config.gamma)
    smoothing = config.label_smoothing
    if config.name == "cross_entropy":
        return lambda logits, labels: F.cross_entropy(
            logits.float(), labels, label_smoothing=smoothing
        )
    weights = class_weights(train_labels, n_classes)
    if not smoothing:
        return lambda logits, labels: F.cross_entropy(logits.float(), labels, weight=weights)
    return lambda logits, labels: smoothed_and_weighted(logits, labels, weights, smoothing)


def smoothed_and_weighted(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor, smoothing: float
) -> torch.Tensor:
    """Return the mean smoothed cross-entropy of images, weighted (classes,) by their class."""
    losses = F.cross_entropy(logits.float(), labels, label_smoothing=smoothing, reduction="none")
    of_image = weights[labels]
    return (of_image * losses).sum() / of_image.sum()


def focal_loss(logits: torch.Tensor, labels: torch.Tensor, *, gamma: float) -> torch.Tensor:
    """Return the mean of -(1 - p)^gamma log p (Lin et al. 2017, arXiv 1708.02002; no class factor)."""
    log_p = F.log_softmax(logits.float(), dim=1).gather(1, labels[:, None]).squeeze(1)
    # For gamma below 1 the slope of the power is infinite at 0, and the gradient would be NaN.
    miss = (-torch.expm1(log_p)).clamp(min=1e-8)
    return -(miss**gamma * log_p).mean()
