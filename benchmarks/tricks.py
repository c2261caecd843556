"""Published tricks for training small networks fast, as variants of the project's training loop.

They stand here and not in the product until `python -m benchmarks recipe` shows that one pays on BloodMNIST.
Most are from airbench (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds"). Muon, which pays, is in the product.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from bloodsearch.search.training.augment import N_ORIENTATIONS, _clamped_range, orient
from bloodsearch.search.training.config import TrialConfig
from bloodsearch.search.training.device import DeviceData
from bloodsearch.search.training.loop import Training
from bloodsearch.search.training.metrics import Confusion
from bloodsearch.search.training.predict import scale
from bloodsearch.search.training.step import Step


@dataclass(frozen=True, slots=True)
class Tricks:
    """Which of them a training uses."""

    whiten: bool = False
    """The first convolution's filters are the whitened principal components of image patches, frozen."""
    identity: bool = False
    """Every other convolution passes its input on at first, as far as it has filters."""
    bias_lr: float = 1.0
    """Learning rate of BatchNorm's biases over that of the rest."""
    in_turn: bool = False
    """Every image goes through the eight orientations in eight epochs, instead of drawing them."""
    ema: float = 0.0
    """Validation uses an exponential average of the weights, with this share of the past a step."""
    sizes: tuple[int, ...] = ()
    """Image sizes of equal parts of the training; the last is 28."""
    momentum_bn: float = 0.1
    """BatchNorm's momentum."""


class TrickyTraining(Training):
    """A training with some of the tricks."""

    def __init__(
        self, config: TrialConfig, data: DeviceData, seed: int, precision: Any, tricks: Tricks
    ) -> None:
        super().__init__(config, data, seed, None, precision)
        self.tricks = tricks
        if tricks.whiten:
            _whiten(self.model, data.train_images)
        if tricks.identity:
            _identity(self.model)
        for module in self.model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = tricks.momentum_bn
        if tricks.bias_lr != 1.0:
            self.step = _StepWithFastBiases(self.step, tricks.bias_lr)
        self.shadow = [p.detach().clone() for p in self.model.parameters()]
        self.base = torch.randint(8, (len(data.train_images),), generator=self.generator)

    def _train_epoch(self, epoch: int, should_stop: Any) -> float:
        if not self.tricks.ema:
            return super()._train_epoch(epoch, should_stop)
        plain, decay = self.step, self.tricks.ema

        def averaging(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            loss = plain(images, labels)
            weights = [p.detach() for p in self.model.parameters()]
            torch._foreach_lerp_(self.shadow, weights, 1 - decay)
            return loss

        averaging.set_lr = plain.set_lr  # type: ignore[attr-defined]
        self.step = averaging  # type: ignore[assignment]
        try:
            return super()._train_epoch(epoch, should_stop)
        finally:
            self.step = plain

    @torch.no_grad()
    def _validate(self) -> tuple[Confusion, float]:
        if not self.tricks.ema:
            return super()._validate()
        weights = [p.detach().clone() for p in self.model.parameters()]
        torch._foreach_copy_(list(self.model.parameters()), self.shadow)
        found = super()._validate()
        torch._foreach_copy_(list(self.model.parameters()), weights)
        return found

    def _blocks(self, order: torch.Tensor, epoch: int) -> Iterator[torch.Tensor]:
        in_turn, sizes = self.tricks.in_turn, self.tricks.sizes
        blocks = iter([self._in_turn(order, epoch)]) if in_turn else super()._blocks(order, epoch)
        size = sizes[(epoch - 1) * len(sizes) // self.config.epochs] if sizes else 28
        for images in blocks:
            if size == images.shape[1]:
                yield images
            else:
                planes = images.permute(0, 3, 1, 2)
                smaller = F.interpolate(planes, (size, size), mode="bilinear", antialias=True)
                yield smaller.permute(0, 2, 3, 1).contiguous()

    def _in_turn(self, order: torch.Tensor, epoch: int) -> torch.Tensor:
        shift, source = self.config.shift, self.data.train_images
        n_offsets = 2 * shift + 1
        offset = torch.randint(n_offsets**2, (len(order),), generator=self.generator)
        # XOR with a number that takes all eight values in eight epochs; neighbours differ in two bits
        turn = (0, 3, 5, 6, 1, 2, 4, 7)[(epoch - 1) % N_ORIENTATIONS["dihedral"]]
        group = (self.base[order] ^ turn) * n_offsets**2 + offset
        out = torch.empty_like(source[: len(order)])
        index = _clamped_range(28, shift, source.device)
        for g in group.unique().tolist():
            rows = (group == g).nonzero().flatten()
            orientation, which = divmod(g, n_offsets**2)
            dy, dx = divmod(which, n_offsets)
            batch = source[order[rows]].index_select(1, index[dy]).index_select(2, index[dx])
            out[rows] = orient(batch, orientation)
        return out


class _StepWithFastBiases(Step):
    """A learning rate of their own for BatchNorm's biases."""

    def __init__(self, step: Step, factor: float) -> None:
        super().__init__(step.model, step.optimizer, step.loss, step.dtype)
        self.factor = factor
        norms = [m for m in self.model.modules() if isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d)]
        biases = {id(m.bias): m.bias for m in norms}
        group = next(g for g in self.optimizer.param_groups if not g.get("filters"))
        group["params"] = [p for p in group["params"] if id(p) not in biases]
        self.optimizer.add_param_group({**group, "params": list(biases.values())})

    def set_lr(self, lr: float) -> None:
        super().set_lr(lr)
        self.optimizer.param_groups[-1]["lr"] = lr * self.factor


def _first_conv(model: nn.Module) -> nn.Conv2d:
    return next(m for m in model.modules() if isinstance(m, nn.Conv2d))


@torch.no_grad()
def _whiten(model: nn.Module, images: torch.Tensor, n_images: int = 2000) -> None:
    conv = _first_conv(model)
    side = conv.kernel_size[0]
    pixels = scale(images[:n_images], torch.float32)
    patches = pixels.unfold(2, side, 2).unfold(3, side, 2).permute(0, 2, 3, 1, 4, 5).flatten(3)
    flat = patches.reshape(-1, patches.shape[-1])
    values, vectors = torch.linalg.eigh(torch.cov(flat.T))
    filters = (vectors / (values + 1e-2).sqrt()).T.flip(0).reshape(-1, 3, side, side)
    filters = torch.cat([filters[: conv.out_channels // 2], -filters[: conv.out_channels // 2]])
    conv.weight[: len(filters)] = filters
    conv.weight.requires_grad_(False)


@torch.no_grad()
def _identity(model: nn.Module) -> None:
    first = _first_conv(model)
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module is not first:
            n = min(module.in_channels, module.out_channels)
            nn.init.dirac_(module.weight[:n])
