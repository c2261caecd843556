"""A CNN's first convolution with its max-pooling, in one pass of a compiled kernel with AMX.

Images have three channels or one. The convolution's output is many times as large, and writing and reading
it takes longer than the products. The kernel keeps two rows of it at a time. The gradient goes from the
pooled map to the weights without the map in between.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from . import kernels
from .convolution import Convolution, by_amx, kind_for, rounded_up


def conv_pool(x: torch.Tensor, conv: Convolution, *, relu: bool) -> torch.Tensor:
    """Return the maxima of 2x2 windows of `conv(x)`, after a ReLU if `relu`: (n, c, h // 2, w // 2).

    `is_first` must hold.
    """
    pooled: torch.Tensor = _ConvPool.apply(x, conv.weight, conv.bias, relu)  # type: ignore[no-untyped-call]
    return pooled


def is_first(x: torch.Tensor, conv: Convolution) -> bool:
    """Return whether `x` are bfloat16 images and the kernel is here for them."""
    return (
        not x.requires_grad
        and conv.stride == (1, 1)
        and conv.kernel_size[0] * x.shape[1] <= 16
        and kind_for(x, conv.weight) == "amx"
    )


class _ConvPool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, relu: bool
    ) -> torch.Tensor:
        n, n_in, h, w = x.shape
        n_out, _, side, _ = weight.shape
        half = weight.to(x.dtype, memory_format=torch.channels_last)
        out = torch.empty(n, h // 2, w // 2, n_out, dtype=x.dtype).permute(0, 3, 1, 2)
        source = torch.empty(out.shape, dtype=torch.uint8)
        padded = rounded_up(n_out, 16)
        image = torch.empty((h + side - 1) * ((w + side + 15) * n_in + 32), dtype=x.dtype)
        tiles = torch.empty(side * padded // 16, 16, 16, dtype=torch.int32)
        line = torch.empty(2, rounded_up(w, 16), padded)
        kernels.call(
            "first_pool_amx", x.dtype, x, n, h, w, n_in, half,
            None if bias is None else bias.float(), n_out, side, int(relu),
            image, tiles, line, out, source,
        )  # fmt: skip
        ctx.save_for_backward(x, source)
        ctx.side, ctx.biased = side, bias is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, source = ctx.saved_tensors
        g_weight, g_bias = by_amx(
            x, kernels.gradient(grad), ctx.side, biased=ctx.biased, source=source
        )
        return None, g_weight, g_bias, None
