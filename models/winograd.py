"""3 x 3 convolutions in float32 by Winograd's algorithm F(4 x 4, 3 x 3), on a CPU with AVX2.

The algorithm takes 36 products where the plain sum takes 144 (Lavin and Gray, "Fast Algorithms for
Convolutional Neural Networks", 2016). Forward pass, input gradient and weight gradient all go this way.
Results differ from the plain sum by up to 4e-6 of the largest value, weight gradients by up to 4e-5.
Times by shape: `python -m benchmarks operations`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from . import kernels

VECTOR = 8
"""Channels that the kernels read at a time."""
MAX_CHANNELS = 1024
"""Length of the kernels' row of zeros, which stands for pixels outside of a map."""
MIN_SIDE, MAX_SIDE = 3, 64
"""Pixels. Most of a tile lies outside of a map of one or two pixels, and all 36 products are computed. At
least one whole image is transformed at a time, and a larger one leaves the caches."""
TILE = 4
"""Side of the outputs that are computed at once."""
MIN_TILES = 32
"""Of all images of a batch. With fewer, to transform the filters takes longer than what it saves: an image
of 3 x 3 pixels alone took up to fourteen times as long as with oneDNN."""

_FILTER = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    dtype=torch.float64,
    # Weights are counted without memory, on the "meta" device, and that may be what imports this module
    # first. The kernels would read from address 0.
    device="cpu",
)
_FILTERS = torch.kron(_FILTER, _FILTER).float()
"""(36, 9): transforms filters whose nine values are a column."""
_TURNED = _FILTERS.flip(1).contiguous()
"""The same for filters turned by 180 degrees, which the input gradient takes."""


def usable(x: torch.Tensor, weight: torch.Tensor) -> bool:
    """Return whether the kernels can compute this convolution, and are faster than oneDNN.

    They are compared with oneDNN on AVX2 only. With AVX-512, oneDNN has twice the products a second.
    """
    n_out, n_in, *side = weight.shape
    return (
        kernels.on_one_avx2_core()
        and x.dtype == weight.dtype == torch.float32
        # before the number of images, which an export must not ask for
        and kernels.usable(x)
        and not torch.is_autocast_enabled("cpu")  # it would change the type of the transforms
        and side == [3, 3]
        and x.shape[1] == n_in  # oneDNN says what is wrong
        and n_in % VECTOR == n_out % VECTOR == 0
        and max(n_in, n_out) <= MAX_CHANNELS
        and min(x.shape[2:]) >= MIN_SIDE
        and max(x.shape[2:]) <= MAX_SIDE
        and len(x) * _n_tiles(x) >= MIN_TILES
        and kernels.has("winograd", x.dtype)
    )


class Convolve(torch.autograd.Function):
    """A convolution with one pixel of padding and its gradients.

    x is (n, i, h, w) in channels-last memory, weight (o, i, 3, 3), bias (o) or None.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.is_biased = bias is not None
        return convolve(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        g = kernels.gradient(grad)
        g_x = input_gradient(g, weight) if ctx.needs_input_grad[0] else None
        g_bias = g.sum((0, 2, 3)) if ctx.is_biased else None
        return g_x, weight_gradient(x, g), g_bias


def convolve(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Return the convolution (n, o, h, w) of x (n, i, h, w) with weight (o, i, 3, 3)."""
    return _product(x, weight, _FILTERS, bias)


def input_gradient(g: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Return the gradient (n, i, h, w) of the input from that of the output, g (n, o, h, w)."""
    return _product(g, weight.transpose(0, 1), _TURNED, None)


def _product(
    x: torch.Tensor, weight: torch.Tensor, transform: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """Convolve x (n, i, h, w) with the filters that `transform` makes of weight (o, i, 3, 3)."""
    n, n_in, h, w = x.shape
    n_out = len(weight)
    vectors = _vectors(n_out)
    # as the kernel reads them: (36, o / width, i, width)
    packed = torch.unflatten(weight, 0, (-1, VECTOR * vectors)).permute(3, 4, 0, 2, 1)
    filters = transform @ packed.reshape(9, -1)
    images, v, m = _memory(x, n_out)
    y = torch.empty((n, h, w, n_out)).permute(0, 3, 1, 2)
    kernels.call(
        "winograd", x.dtype, x, filters, bias, n, h, w, n_in, n_out, vectors, images, v, m, y
    )  # fmt: skip
    return y


def weight_gradient(x: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """Return the weights' gradient (o, i, 3, 3) from x (n, i, h, w) and the output's g (n, o, h, w)."""
    n, n_in, h, w = x.shape
    n_out = g.shape[1]
    images, v, m = _memory(x, n_out)
    sums = torch.empty(36, n_in * n_out)
    kernels.call(
        "winograd_gradient", x.dtype, x, g, n, h, w, n_in, n_out, _vectors(n_out), images, v, m, sums
    )  # fmt: skip
    gradient = (_FILTERS.T @ sums).view(3, 3, n_in, n_out).permute(3, 2, 0, 1)
    return gradient.contiguous(memory_format=torch.channels_last)


def _vectors(n_out: int) -> int:
    """Return how many vectors of output channels the kernels take at a time: 12 sums fit into registers."""
    return 2 if n_out % (2 * VECTOR) == 0 else 1


def _n_tiles(x: torch.Tensor) -> int:
    """Return the tiles of an image."""
    h, w = x.shape[2:]
    return -(-h // TILE) * -(-w // TILE)


FLOATS = 310_000
"""What the transformed maps of a block of images take, about: 1.2 MB."""
FEWEST_TILES, MOST_TILES = 24, 128


def _memory(x: torch.Tensor, n_out: int) -> tuple[int, torch.Tensor, torch.Tensor]:
    """Return how many images are transformed at a time, and memory for both of their maps."""
    n_in, in_image = x.shape[1], _n_tiles(x)
    wanted = FLOATS // (36 * (n_in + n_out))
    images = max(1, min(MOST_TILES, max(FEWEST_TILES, wanted)) // in_image)
    tiles = -(-images * in_image // 12) * 12
    v, m = (torch.empty(36 * (tiles * channels + 16)) for channels in (n_in, n_out))
    return images, v, m
