"""Devices: their names, their precision, and the data set on them."""

from __future__ import annotations

import platform
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ..data.info import Fingerprint
from ..data.load import Dataset
from ..errors import UsageError
from .processor import Precision, answer

__all__ = [
    "DeviceData",
    "Precision",
    "choose_precision",
    "device_name",
    "parse_device",
    "to_device",
]


@dataclass(frozen=True, slots=True)
class DeviceData:
    """A data set on its device: images (n, s, s, c) uint8, labels (n,) int64."""

    train_images: torch.Tensor
    train_labels: torch.Tensor
    val_images: torch.Tensor
    val_labels: torch.Tensor
    fingerprint: Fingerprint
    groups: NDArray[np.int64] | None = None
    """The group of each training and each validation image (n,); None: they are all on their own."""

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
        groups=data.groups,
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
    """Return the precision in which `device` trains best, bfloat16 only where it agrees with float32."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    return answer().precision if device.type == "cpu" else "float32"
