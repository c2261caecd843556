"""Losses: logits (n, classes) in any float type and labels (n,) int64 in, a mean scalar out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from .config import LossConfig


def class_weights(labels: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Return inverse class frequencies (n_classes,), scaled to a mean of 1 over the training images."""
    counts = torch.bincount(labels.long(), minlength=n_classes).clamp(min=1).float()
    return counts.sum() / (n_classes * counts)


@dataclass(frozen=True, slots=True)
class Loss:
    """The loss that `config` names. `nll` is log-softmax, then NLL: cross-entropy in two steps.

    Weights are those of images, by their class, with label smoothing, too. PyTorch's formula weighs the
    smoothed part by the class that it goes to instead: where classes differ by a factor of more than
    1 + classes (1 - smoothing) / smoothing, common images are then trained towards the rarest class.
    """

    config: LossConfig
    weights: torch.Tensor | None
    """Of the classes (classes,)."""

    def __call__(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch."""
        config = self.config
        if config.name == "nll":
            return F.nll_loss(F.log_softmax(logits.float(), dim=1), labels)
        if config.name == "focal" or (self.weights is not None and config.label_smoothing):
            losses, weights = self.of_images(logits, labels)
            return losses.mean() if weights is None else weighted_mean(losses, weights)
        return F.cross_entropy(
            logits.float(), labels, weight=self.weights, label_smoothing=config.label_smoothing
        )

    def of_images(
        self, logits: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the loss of each image (n,), and its weight (n,) by its class, if classes have one."""
        if self.config.name == "focal":
            return focal_losses(logits, labels, gamma=self.config.gamma), None
        losses = F.cross_entropy(
            logits.float(), labels, label_smoothing=self.config.label_smoothing, reduction="none"
        )
        return losses, None if self.weights is None else self.weights[labels]


def make_loss(config: LossConfig, train_labels: torch.Tensor, n_classes: int) -> Loss:
    """Return the loss that `config` names, with the weights of these training images' classes."""
    is_weighted = config.name == "weighted_cross_entropy"
    return Loss(config, class_weights(train_labels, n_classes) if is_weighted else None)


def weighted_mean(losses: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the mean of losses (n,), weighted (n,)."""
    return (weights * losses).sum() / weights.sum()


def focal_losses(logits: torch.Tensor, labels: torch.Tensor, *, gamma: float) -> torch.Tensor:
    """Return -(1 - p)^gamma log p of each image (n,) (Lin et al. 2017, arXiv 1708.02002; no class factor)."""
    log_p = F.log_softmax(logits.float(), dim=1).gather(1, labels[:, None]).squeeze(1)
    # For gamma below 1 the slope of the power is infinite at 0, and the gradient would be NaN.
    miss = (-torch.expm1(log_p)).clamp(min=1e-8)
    return -(miss**gamma * log_p)
