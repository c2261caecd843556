"""Devices: their names, their precision, and the data set on them."""

from __future__ import annotations

import functools
import logging
import math
import platform
from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional as F

from ..data.bloodmnist import Dataset, Fingerprint
from ..errors import UsageError

Precision = Literal["bfloat16", "float32"]
MAX_DEVIATION = 0.03
"""Largest relative deviation of bfloat16 from float32. Its rounding alone gives about 0.004."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DeviceData:
    """A data set on its device: images (n, 28, 28, 3) uint8, labels (n,) int64."""

    train_images: torch.Tensor
    train_labels: torch.Tensor
    val_images: torch.Tensor
    val_labels: torch.Tensor
    fingerprint: Fingerprint

    @property
    def device(self) -> torch.device:
        return self.train_images.device


def to_device(data: Dataset, device: torch.device) -> DeviceData:
    """Copy the data set to `device`, once per process: 32 MB in all, so no loader is needed."""
    return DeviceData(
        train_images=torch.from_numpy(data.train_images).to(device),
        train_labels=torch.from_numpy(data.train_labels).to(device, torch.int64),
        val_images=torch.from_numpy(data.val_images).to(device),
        val_labels=torch.from_numpy(data.val_labels).to(device, torch.int64),
        fingerprint=data.fingerprint,
    )


def parse_device(name: str) -> torch.device:
    """Return the torch device called `name` ("cpu", "mps", "cuda:0").

    Raises UsageError if this machine does not have it.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"{name} is not a device; use cpu, mps or cuda:N") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UsageError(
            f"{name} does not exist: this machine has {torch.cuda.device_count()} CUDA devices"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UsageError("mps does not exist on this machine; use cpu")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UsageError(f"{name} is not supported; use cpu, mps or cuda:N")
    return device


def device_name(device: torch.device) -> str:
    """Return the name of the hardware, which is stored with a trial."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {platform.machine()}"


def choose_precision(device: torch.device) -> Precision:
    """Return bfloat16 if the hardware supports it and its results agree with float32, else float32."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported():
        return "bfloat16" if _bfloat16_is_sound() else "float32"
    return "float32"


@functools.cache
def _bfloat16_is_sound() -> bool:
    """Return whether bfloat16 agrees with float32 here. Log the deviation once per process if not."""
    deviation = bfloat16_deviation()
    if deviation <= MAX_DEVIATION:
        return True
    _log.warning(
        "bfloat16 deviates from float32 by %.3g on this processor (at most %.3g): training in "
        "float32",
        deviation,
        MAX_DEVIATION,
    )
    return False


def bfloat16_deviation() -> float:
    """Compare a small model's outputs and gradients in bfloat16 and float32 on the CPU.

    Return the largest distance relative to the norm of the float32 tensor; NaN counts as infinite. Takes
    a few milliseconds and does not use torch's global generator.
    """
    generator = torch.Generator().manual_seed(0)
    # sizes at which maps and logits are of order 1, so that a rounding cannot tip the softmax
    sizes = {(8, 3, 14, 14): 1.0, (16, 3, 3, 3): 0.2, (8, 16 * 7 * 7): 0.04}
    tensors = [size * torch.randn(shape, generator=generator) for shape, size in sizes.items()]
    images = tensors[0].to(memory_format=torch.channels_last)
    tensors_of: dict[bool, list[torch.Tensor]] = {}
    for half in (False, True):
        filters, weights = (t.clone().requires_grad_() for t in tensors[1:])
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            maps = F.avg_pool2d(F.conv2d(images, filters, padding=1), 2)
            logits = F.linear(maps.flatten(1), weights)
        logits = logits.float()
        loss = F.cross_entropy(logits, torch.arange(8))
        tensors_of[half] = [logits.detach(), *torch.autograd.grad(loss, (filters, weights))]
    distances = [
        float((a - b).norm() / b.norm())
        for a, b in zip(tensors_of[True], tensors_of[False], strict=True)
    ]
    return max(d if math.isfinite(d) else math.inf for d in distances)
