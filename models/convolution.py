"""A convolution whose weights' gradient in bfloat16 is computed in the fastest way for its shape on a CPU.

oneDNN's forward pass and input gradient run at the speed of the processor. Its weights' gradient does not on
small maps. With AMX it took nine times as long as the forward pass at 3 x 3 pixels and 256 channels, with
AVX512-BF16 twice as long.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from . import kernels


class Convolution(nn.Conv2d):
    """`nn.Conv2d` with half the filter's side as padding.

    Which way the gradient takes depends on shapes and the processor only, so a seed gives one result.
    """

    def __init__(self, n_in: int, n_out: int, side: int, *, bias: bool, stride: int = 1) -> None:
        super().__init__(n_in, n_out, side, stride=stride, padding=side // 2, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if (
            self.stride == (1, 1)
            and self.weight.requires_grad
            and torch.is_grad_enabled()
            and _kind(x, self.weight) is not None
        ):
            out: torch.Tensor = _Convolution.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
            return out
        return super().forward(x)


def _kind(x: torch.Tensor, weight: torch.Tensor) -> str | None:
    """Return how the weights' gradient is computed: "kernel", "product", or None for oneDNN's way."""
    if x.dtype != torch.bfloat16 or not kernels.usable(x) or torch.get_num_threads() > 1:
        return None
    n_out, n_in = weight.shape[:2]
    side = max(x.shape[2:])
    if torch.cpu._is_amx_tile_supported():
        # measured on a Xeon: 128 -> 256 channels at 7 x 7 pixels took 7.1 ms instead of 9.4, 256 -> 256 at
        # 3 x 3 pixels 2.4 instead of 14.7; with fewer channels at 7 x 7 oneDNN was faster
        faster = side <= 3 or (side <= 7 and n_in * n_out >= 128 * 256)
        return "product" if faster and n_in >= 16 else None
    # AVX512-BF16: 1.4 to 3 times as fast as oneDNN at 7 x 7 pixels and below, at 14 x 14 as fast or a tenth
    # faster if the channels fill the kernel's tiles
    faster = side <= 7 or (n_in % 32 == 0 and n_out >= 32)
    return "kernel" if faster and n_in >= 16 and kernels.has("weight_gradient", x.dtype) else None


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.kind = _kind(x, weight)
        half = weight.to(x.dtype)
        ctx.save_for_backward(x, half)
        ctx.biased = bias is not None
        padding = weight.shape[2] // 2
        return F.conv2d(x, half, None if bias is None else bias.to(x.dtype), padding=padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        g = kernels.gradient(grad)
        way = by_kernel if ctx.kind == "kernel" else by_product
        g_weight, g_bias = way(x, g, weight.shape[2], biased=ctx.biased)
        g_x = None
        if ctx.needs_input_grad[0]:
            padding = [weight.shape[2] // 2] * 2
            g_x, _, _ = torch.ops.aten.convolution_backward(
                g, x, weight, None, [1, 1], padding, [1, 1], False, [0, 0], 1, [True, False, False]
            )
        return g_x, g_weight, g_bias


def by_kernel(
    x: torch.Tensor, g: torch.Tensor, side: int, *, biased: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the gradients of weights (o, i, side, side) and bias (o) in float32, with the compiled kernel.

    x (n, i, h, w) and the output's gradient g (n, o, h, w) are bfloat16 in channels-last memory.
    """
    n, n_in, h, w = x.shape
    n_out = g.shape[1]
    vectors = _vectors(n_in)
    ins = _rounded_up(n_in, 16 * vectors)
    outs = _rounded_up(n_out, 16 // vectors)
    # image pairs whose row of one tile of channels takes 28 KB, which leaves room in a first-level cache
    block = max(1, 28_672 // (4 * w * 16 * vectors))
    pixels = min(block, (n + 1) // 2) * h * w
    xs, gs = (torch.empty(channels * pixels, dtype=torch.int32) for channels in (ins, outs))
    sums = torch.empty(side * side * ins * outs)
    g_weight = torch.empty(n_out, side, side, n_in).permute(0, 3, 1, 2)
    g_bias = torch.empty(n_out) if biased else None
    kernels.call(
        "weight_gradient", x.dtype, x, g, n, h, w, n_in, n_out, side, vectors, block,
        xs, gs, sums, g_weight, g_bias,
    )  # fmt: skip
    return g_weight, g_bias


def _vectors(n_in: int) -> int:
    """Return how many vectors of 16 input channels the kernel takes at a time: 4, 2 or 1."""
    n_vectors = -(-n_in // 16)
    if n_vectors % 4 in (0, 3):
        return 4
    return 2 if n_vectors > 1 else 1


def _rounded_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def by_product(
    x: torch.Tensor, g: torch.Tensor, side: int, *, biased: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return what `by_kernel` does, as one matrix product with the unfolded input."""
    n, n_in, h, w = x.shape
    n_out, half = g.shape[1], side // 2
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, half, half, half, half))
    windows = padded.unfold(1, side, 1).unfold(2, side, 1)  # (n, h, w, i, side, side)
    columns = windows.permute(0, 1, 2, 4, 5, 3).reshape(n * h * w, side * side * n_in)
    rows = g.permute(0, 2, 3, 1).reshape(n * h * w, n_out)
    # a product with a transposed left side runs at half the speed
    g_weight = (rows.t().contiguous() @ columns).float()
    g_bias = rows.sum(dim=0, dtype=torch.float32) if biased else None
    return g_weight.view(n_out, side, side, n_in).permute(0, 3, 1, 2), g_bias
