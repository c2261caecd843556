"""The speed that this processor reaches, and the speed that its vector or matrix units could reach."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

PRODUCTS = (1024, 2048)
CONVOLUTIONS = ((64, 128, 14), (128, 256, 7))
BATCH = 128

# Floating-point operations a cycle and core. AVX: two multiply-add units of 8 or 16 float32 or 32 bfloat16
# lanes. AMX: tiles of 16 x 32 by 32 x 16 in 16 cycles.
AMX, AVX512_BF16, AVX512, AVX2 = 1024, 128, 64, 32


def measured_peak(dtype_name: str) -> float:
    """Return FLOP/s of the fastest of a few matrix products and convolutions."""
    import torch
    from torch.nn import functional as F

    dtype = getattr(torch, dtype_name)
    best = 0.0
    for size in PRODUCTS:
        a, b = (torch.randn(size, size).to(dtype) for _ in range(2))
        best = max(best, 2 * size**3 / _fastest(partial(torch.matmul, a, b)))
    for n_in, n_out, side in CONVOLUTIONS:
        x, weight = (
            torch.randn(shape).to(dtype).to(memory_format=torch.channels_last)
            for shape in ((BATCH, n_in, side, side), (n_out, n_in, 3, 3))
        )
        flop = 2 * BATCH * n_in * n_out * 9 * side**2
        seconds = _fastest(partial(F.conv2d, x, weight, padding=1))
        best = max(best, flop / seconds)
    return best


def _fastest(work: Callable[[], Any], n_runs: int = 8) -> float:
    best = float("inf")
    for _ in range(n_runs):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best


def operations_per_cycle(dtype_name: str) -> int | None:
    """Return the operations that one core's units can do in a cycle. None if the units are not known."""
    import torch

    if dtype_name == "bfloat16" and torch.cpu._is_amx_tile_supported():
        return AMX
    if dtype_name == "bfloat16" and torch.cpu._is_avx512_bf16_supported():
        return AVX512_BF16
    if torch.cpu._is_avx512_supported():
        return AVX512
    return AVX2 if torch.cpu._is_avx2_supported() else None
