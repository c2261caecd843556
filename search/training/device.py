"""Devices: what there is, which precision it trains in, and the data kept on it."""

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
"""Relative; the eight bits of its fraction give about 0.004 in `bfloat16_deviation`."""

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
    """The torch device called `name` ("cpu", "mps", "cuda:0").

    Raises UsageError when this machine does not have it.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"{name} is no device; use cpu, mps or cuda:N") from None
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
    """What the hardware is called, for the record of a trial."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} {platform.machine()}"


def choose_precision(device: torch.device) -> Precision:
    """bfloat16 where the processor computes in it, and agrees with itself; float32 elsewhere."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported():
        return "bfloat16" if _bfloat16_is_sound() else "float32"
    return "float32"


@functools.cache
def _bfloat16_is_sound() -> bool:
    """Whether bfloat16 agrees with float32 here; logs the deviation, once a process, if not."""
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
    """How far a small model's bfloat16 output and gradients are from its float32 ones, on the CPU.

    The largest distance relative to the float32 tensor's norm; NaN counts as infinite. Takes a few
    milliseconds and leaves torch's generator as it was.
    """
    generator = torch.Generator().manual_seed(0)
    # sizes at which maps and logits are of order 1, so that a rounding cannot tip the softmax
    sizes = {(8, 3, 14, 14): 1.0, (16, 3, 3, 3): 0.2, (8, 16 * 7 * 7): 0.04}
    tensors = [size * torch.randn(shape, generator=generator) for shape, size in sizes.items()]
    images = tensors[0].to(memory_format=torch.channels_last)
    found: dict[bool, list[torch.Tensor]] = {}
    for half in (False, True):
        filters, weights = (t.clone().requires_grad_() for t in tensors[1:])
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            maps = F.avg_pool2d(F.conv2d(images, filters, padding=1), 2)
            logits = F.linear(maps.flatten(1), weights)
        logits = logits.float()
        loss = F.cross_entropy(logits, torch.arange(8))
        found[half] = [logits.detach(), *torch.autograd.grad(loss, (filters, weights))]
    distances = [
        float((a - b).norm() / b.norm()) for a, b in zip(found[True], found[False], strict=True)
    ]
    return max(d if math.isfinite(d) else math.inf for d in distances)
