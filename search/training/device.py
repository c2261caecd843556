"""Devices: what there is, which precision it trains in, and the data kept on it."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Literal

import torch

from search.errors import UsageError
from search.training.data import Dataset, Fingerprint

Precision = Literal["bfloat16", "float32"]


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
    """bfloat16 where the processor computes in it, float32 elsewhere."""
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device.type == "cpu" and torch.cpu._is_avx512_bf16_supported():
        return "bfloat16"
    return "float32"
