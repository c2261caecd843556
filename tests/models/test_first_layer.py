"""The first convolution with its pooling gives what torch's operations give, within bfloat16's rounding."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from bloodsearch.models.convolution import Convolution, has_amx
from bloodsearch.models.first_layer import conv_pool, is_first

pytestmark = [
    pytest.mark.skipif(not has_amx(), reason="this processor has no AMX"),
    pytest.mark.usefixtures("one_thread"),
]

# images, channels, filters, pixels of a side, side of the filters
SHAPES = [
    (2, 3, 16, 28, 3),
    (35, 3, 20, 9, 3),
    (3, 1, 70, 13, 5),
    (5, 3, 24, 6, 5),
    (1, 1, 8, 64, 7),
]


def images(n: int, channels: int, side: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand((n, channels, side, side), generator=generator) * 2 - 1
    return x.bfloat16().to(memory_format=torch.channels_last)


def layer(channels: int, filters: int, side: int, *, bias: bool = True) -> Convolution:
    torch.manual_seed(0)
    made = Convolution(channels, filters, side, bias=bias)
    made.weight.data = made.weight.data.bfloat16().float()
    return made.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_pooled_map_and_gradients_are_torchs(shape: tuple[int, ...], relu: bool) -> None:
    n, channels, filters, pixels, side = shape
    x, conv = images(n, channels, pixels), layer(channels, filters, side)
    assert conv.bias is not None
    assert is_first(x, conv)
    found = conv_pool(x, conv, relu=relu)
    wanted = F.max_pool2d(F.conv2d(x.float(), conv.weight, conv.bias, padding=side // 2), 2)
    wanted = wanted.relu() if relu else wanted
    assert found.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(found.float(), wanted, rtol=0.004, atol=0.001)
    g = images(n, filters, pixels)[:, :, : pixels // 2, : pixels // 2]
    gradients = [
        torch.autograd.grad(out, (conv.weight, conv.bias), g.to(out.dtype))
        for out in (found, wanted)
    ]
    for by_kernel, by_torch in zip(*gradients, strict=True):
        # of two values that are equal but for rounding, another one may be the maximum
        torch.testing.assert_close(
            by_kernel, by_torch, rtol=1e-3, atol=2e-3 * float(by_torch.abs().max())
        )


def test_without_a_bias() -> None:
    x, conv = images(2, 3, 8), layer(3, 16, 3, bias=False)
    found = conv_pool(x, conv, relu=False)
    wanted = F.max_pool2d(F.conv2d(x.float(), conv.weight, padding=1), 2)
    torch.testing.assert_close(found.float(), wanted, rtol=0.004, atol=0.001)
    found.sum().backward()
    assert conv.weight.grad is not None


def test_a_pixel_that_is_no_number_stays_one() -> None:
    x, conv = images(2, 3, 8), layer(3, 16, 3)
    x[1, 0, 4, 4] = torch.nan
    for relu in (False, True):
        out = conv_pool(x, conv, relu=relu)
        assert out[1, :, 1:3, 1:3].isnan().all()
        assert not out[0].isnan().any()
        assert not out[1, :, 3].isnan().any()


def test_what_other_layers_get() -> None:
    conv = layer(3, 16, 3)
    assert not is_first(images(2, 3, 8).float(), conv)
    assert not is_first(images(2, 3, 8).requires_grad_(), conv)
    assert not is_first(images(2, 16, 8), layer(16, 16, 3))
