"""2x2 max-pooling for channels-last memory on a CPU, several times as fast as torch's.

It is one pass of a compiled kernel each way (`models/kernels`). Without these it is plain torch operations.
torch's own kernel writes an int64 index per output and scatters gradients through it, one element at a
time. The plain form takes two element-wise maxima over whole tensors, and masks the gradient by
comparing again. These passes run at the speed of the memory. Masks and gradients are handled as integers
of the same width, because torch vectorises these operations for integers but not for booleans or bfloat16.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from . import kernels

_BITS = {torch.bfloat16: torch.int16, torch.float32: torch.int32}


def max_pool(x: torch.Tensor, *, relu: bool) -> torch.Tensor:
    """Return the maxima of 2x2 windows, after a ReLU if `relu`: (n, c, h, w) to (n, c, h // 2, w // 2).

    Values and gradients are bitwise identical to torch's `max_pool2d` and `relu`; the first of several
    equal maxima gets the gradient. Without the kernels, `relu` may turn a window of NaN into 0.
    """
    if kernels.usable(x):
        pooled: torch.Tensor = _KernelPool.apply(x, relu)  # type: ignore[no-untyped-call]
        return pooled
    if _is_fast_here(x):
        pooled = _MaxPool.apply(x, relu)  # type: ignore[no-untyped-call]
        return pooled
    pooled = F.max_pool2d(x, 2)
    return pooled.relu() if relu else pooled


def _is_fast_here(x: torch.Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype in _BITS
        and x.is_contiguous(memory_format=torch.channels_last)
        # an exported graph contains the plain operations
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    )


class _KernelPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, relu: bool) -> torch.Tensor:
        n, c, h, w = x.shape
        out = kernels.like(x, h // 2, w // 2)
        source = torch.empty(out.shape, dtype=torch.uint8)
        kernels.call("pool", x.dtype, x, n, h, w, c, int(relu), out, source)
        ctx.save_for_backward(source)
        ctx.size = (n, h, w, c)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        (source,) = ctx.saved_tensors
        n, h, w, c = ctx.size
        g_x = kernels.like(grad, h, w)
        kernels.call("pool_backward", grad.dtype, kernels.gradient(grad), source, n, h, w, c, g_x)
        return g_x, None


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, relu: bool) -> torch.Tensor:
        bits = _BITS[x.dtype]
        # With a ReLU only positive maxima count. Positive floats are ordered like their bits, so the whole
        # pooling is integer arithmetic.
        source = x.view(bits) if relu else x
        left, right = _columns(source)
        rows = torch.maximum(left, right)  # (n, h // 2, 2, w // 2, c)
        out = torch.maximum(rows[:, :, 0], rows[:, :, 1])
        if relu:
            out.clamp_(min=0)
        ctx.save_for_backward(source, rows, out)
        ctx.relu = relu
        return out.view(x.dtype).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        source, rows, out = ctx.saved_tensors
        bits = _BITS[grad.dtype]
        g = grad.permute(0, 2, 3, 1).contiguous().view(bits)
        if ctx.relu:
            g = g * torch.gt(out, 0, out=torch.empty_like(out))
        g_rows = torch.empty(rows.shape, dtype=bits)
        _split(g, _mask(torch.ge, rows[:, :, 0], rows[:, :, 1]), g_rows[:, :, 0], g_rows[:, :, 1])
        n, c, h, w = source.shape
        covered = h % 2 == 0 and w % 2 == 0
        make = torch.empty if covered else torch.zeros  # an odd last row or column has no gradient
        g_source = make((n, h, w, c), dtype=bits).permute(0, 3, 1, 2)
        left, right = _columns(source)
        _split(g_rows, _mask(torch.ge, left, right), *_columns(g_source))
        return g_source.view(grad.dtype), None


def _columns(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return views (n, h // 2, 2, w // 2, c) of the even and the odd columns of (n, c, h, w)."""
    h, w = x.shape[2] // 2, x.shape[3] // 2
    even = x.permute(0, 2, 3, 1)[:, : 2 * h, : 2 * w]
    windows = torch.unflatten(torch.unflatten(even, 2, (w, 2)), 1, (h, 2))
    return windows[:, :, :, :, 0], windows[:, :, :, :, 1]


def _mask(compare: Any, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return 1 where `compare(a, b)` holds and 0 elsewhere, as integers of the same width."""
    mask = torch.empty(a.shape, dtype=a.dtype)
    compare(a, b, out=mask)
    # read as an integer, 1.0 is a large number
    return mask.view(_BITS[a.dtype]).clamp_(max=1) if a.is_floating_point() else mask


def _split(g: torch.Tensor, mask: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> None:
    """Write `g` to `first` where `mask` is 1, to `second` where it is 0, and 0 to the other."""
    torch.mul(g, mask, out=first)
    torch.sub(g, first, out=second)
