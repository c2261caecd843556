"""A convolution that kernels of this package help to compute on a CPU.

In float32 on AVX2 they compute all of it: see winograd.py. In bfloat16 they compute the weights' gradient.
oneDNN's forward pass and input gradient run at the speed of the processor. Its weights' gradient does not.
With AMX it took nine times as long as the forward pass at 3 x 3 pixels and 256 channels, with AVX512-BF16
twice as long. Times of both by shape: `python -m benchmarks operations`.
"""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from . import kernels, winograd


class Convolution(nn.Conv2d):
    """`nn.Conv2d` with half the filter's side as padding.

    What computes it depends on shapes, number of threads and processor, never on a timing. So a seed gives
    one result.
    """

    def __init__(self, n_in: int, n_out: int, side: int, *, bias: bool, stride: int = 1) -> None:
        super().__init__(n_in, n_out, side, stride=stride, padding=side // 2, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.stride == (1, 1):
            return convolve(x, self.weight, self.bias)
        return super().forward(x)


def convolve(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Return the convolution (n, o, h, w) of x (n, i, h, w) with weight (o, i, side, side).

    The stride is 1, and half the filter's side is padding.
    """
    if winograd.usable(x, weight):
        convolved: torch.Tensor = winograd.Convolve.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return convolved
    if weight.requires_grad and torch.is_grad_enabled():
        kind = kind_for(x, weight)
        if kind is not None:
            out: torch.Tensor = _Convolution.apply(x, weight, bias, kind)  # type: ignore[no-untyped-call]
            return out
    return F.conv2d(x, weight, bias, padding=weight.shape[2] // 2)


Kind = Literal["amx", "avx512"]


def kind_for(x: torch.Tensor, weight: torch.Tensor) -> Kind | None:
    """Return which kernel computes the weights' gradient, None for oneDNN."""
    if x.dtype != torch.bfloat16 or not kernels.usable(x) or torch.get_num_threads() > 1:
        return None
    n_out, n_in = weight.shape[:2]
    if x.shape[1] != n_in or weight.device != x.device:
        return None  # torch says what is wrong
    if has_amx():
        return "amx"
    # AVX512-BF16: 1.4 to 3 times as fast as oneDNN at 7 x 7 pixels and below, at 14 x 14 as fast or a tenth
    # faster if the channels fill the kernel's tiles
    faster = max(x.shape[2:]) <= 7 or (n_in % 32 == 0 and n_out >= 32)
    return "avx512" if faster and n_in >= 16 and kernels.has("weight_gradient", x.dtype) else None


@functools.cache
def has_amx() -> bool:
    """Return whether the AMX kernels are here and the system lets this process use the unit."""
    names = ("weight_gradient_amx", "first_pool_amx")
    built = all(kernels.has(name, torch.bfloat16) for name in names)
    return built and torch.cpu._is_amx_tile_supported() and torch.cpu._init_amx()


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, kind: Kind
    ) -> torch.Tensor:
        ctx.kind = kind
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
        by = by_amx if ctx.kind == "amx" else by_avx512
        g_weight, g_bias = by(x, g, weight.shape[2], biased=ctx.biased)
        g_x = None
        if ctx.needs_input_grad[0]:
            padding = [weight.shape[2] // 2] * 2
            g_x, _, _ = torch.ops.aten.convolution_backward(
                g, x, weight, None, [1, 1], padding, [1, 1], False, [0, 0], 1, [True, False, False]
            )
        return g_x, g_weight, g_bias, None


def by_avx512(
    x: torch.Tensor, g: torch.Tensor, side: int, *, biased: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the gradients of weights (o, i, side, side) and bias (o) in float32, on AVX512-BF16.

    x (n, i, h, w) and the output's gradient g (n, o, h, w) are bfloat16 in channels-last memory.
    """
    n, n_in, h, w = x.shape
    n_out = g.shape[1]
    vectors = _vectors(n_in)
    ins = rounded_up(n_in, 16 * vectors)
    outs = rounded_up(n_out, 16 // vectors)
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


def rounded_up(number: int, multiple: int) -> int:
    """Return the least multiple of `multiple` that is at least `number`."""
    return -(-number // multiple) * multiple


BAND_BYTES = 1_250_000
"""Memory of a band of rows of both maps. It stays in a second-level cache of 2 MB."""


def by_amx(
    x: torch.Tensor,
    g: torch.Tensor,
    side: int,
    *,
    biased: bool,
    source: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Do the same as `by_avx512` with the AMX kernel.

    With the pooling's `source`, g is the gradient of the pooled map (n, o, h // 2, w // 2).
    """
    n, n_in, h, w = x.shape
    n_out = g.shape[1]
    plan = _plan(n, n_in, n_out, h, w, side)
    xs, gs = (
        torch.empty(tiles, 16, 16, dtype=torch.int32) for tiles in (plan.x_tiles, plan.g_tiles)
    )
    sums = torch.empty(plan.sums, 16, 16)
    g_weight = torch.empty(n_out, side, side, n_in).permute(0, 3, 1, 2)
    g_bias = torch.empty(n_out) if biased else None
    kernels.call(
        "weight_gradient_amx", x.dtype, x, g, source, n, h, w, n_in, n_out, side, int(plan.around),
        plan.blocks, plan.rows, xs, gs, sums, g_weight, g_bias,
    )  # fmt: skip
    return g_weight, g_bias


class _Plan(NamedTuple):
    """How the AMX kernel goes through its maps, and the tiles of memory that it needs."""

    around: bool
    """Whether a tile holds all that a filter's row sees, as it can for the images' three channels."""
    blocks: int
    """How many times 32 images are rearranged at once."""
    rows: int
    """How many rows of the gradient are rearranged at once."""
    x_tiles: int
    g_tiles: int
    sums: int


@functools.cache
def _plan(n: int, n_in: int, n_out: int, h: int, w: int, side: int) -> _Plan:
    around = side * n_in <= 16
    in_tiles, out_tiles = 1 if around else rounded_up(n_in, 16) // 16, rounded_up(n_out, 16) // 16

    def tiles(rows: int) -> tuple[int, int]:
        return in_tiles * min(h, rows + 2 * (side // 2)) * w, out_tiles * rows * w

    rows = next((rows for rows in range(h, 1, -1) if 1024 * sum(tiles(rows)) <= BAND_BYTES), 1)
    n_blocks = rounded_up(n, 32) // 32
    blocks = max(1, min(n_blocks, BAND_BYTES // (1024 * sum(tiles(rows))))) if rows == h else 1
    x_tiles, g_tiles = (blocks * number for number in tiles(rows))
    filters = side if around else side * side
    return _Plan(around, blocks, rows, x_tiles, g_tiles, filters * in_tiles * out_tiles)
