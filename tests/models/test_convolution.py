"""The weights' gradient is torch's within bfloat16's rounding, whichever way it is computed."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from bloodsearch.models import convolution, kernels
from bloodsearch.models.convolution import Convolution, by_kernel, by_product

# n, inputs, outputs, pixels of a side, side of the filters
SHAPES = [
    (4, 64, 64, 7, 3),
    (3, 24, 20, 5, 3),
    (1, 16, 8, 3, 3),
    (5, 48, 16, 6, 5),
    (2, 96, 5, 3, 7),
    (7, 130, 33, 1, 3),
    (130, 16, 16, 14, 3),
]


def has_kernel() -> bool:
    return kernels.has("weight_gradient", torch.bfloat16)


def maps(n: int, channels: int, side: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((n, channels, side, side), generator=generator)
    return x.bfloat16().to(memory_format=torch.channels_last)


@pytest.mark.parametrize("way", [by_kernel, by_product])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_torchs(shape: tuple[int, ...], way: object) -> None:
    if way is by_kernel and not has_kernel():
        pytest.skip("this processor has no kernel for it")
    n, n_in, n_out, side, filters = shape
    x, g = maps(n, n_in, side, 0), maps(n, n_out, side, 1)
    weight = torch.zeros(n_out, n_in, filters, filters, requires_grad=True)
    bias = torch.zeros(n_out, requires_grad=True)
    F.conv2d(x.float(), weight, bias, padding=filters // 2).backward(g.float())
    gradients = by_kernel if way is by_kernel else by_product
    for found, wanted in zip(
        gradients(x, g, filters, biased=True), (weight.grad, bias.grad), strict=True
    ):
        assert found is not None
        assert wanted is not None
        assert found.dtype == torch.float32
        # the kernel's sums stay float32; a product rounds each result to bfloat16
        torch.testing.assert_close(found, wanted, rtol=0.005, atol=2e-4 * float(wanted.abs().max()))
    assert gradients(x, g, filters, biased=False)[1] is None


@pytest.mark.parametrize("kind", ["kernel", "product"])
def test_a_layer_trains_like_torchs(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "kernel" and not has_kernel():
        pytest.skip("this processor has no kernel for it")
    results = []
    for chosen in (None, kind):
        monkeypatch.setattr(convolution, "_kind", lambda x, weight, chosen=chosen: chosen)
        torch.manual_seed(0)
        layer = Convolution(16, 24, 3, bias=True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = maps(4, 16, 7, 0).requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            out = layer(x)
        out.backward(maps(4, 24, 7, 1).contiguous())
        results.append([out.detach(), x.grad, layer.weight.grad, layer.bias.grad])
    for wanted, found in zip(*results, strict=True):
        assert found.stride() == wanted.stride()
        torch.testing.assert_close(found, wanted, rtol=0.02, atol=0.02)


def test_float32_and_evaluation_take_torchs_way() -> None:
    layer = Convolution(16, 16, 3, bias=False)
    x = maps(2, 16, 3, 0)
    assert convolution._kind(x.float(), layer.weight) is None
    assert type(layer(x.float().requires_grad_()).grad_fn).__name__ == "ConvolutionBackward0"


def test_an_infinity_reaches_the_gradient() -> None:
    if not has_kernel():
        pytest.skip("this processor has no kernel for it")
    x, g = maps(2, 16, 3, 0), maps(2, 16, 3, 1)
    x[0, 5, 1, 1] = torch.nan
    g_weight, _ = by_kernel(x, g, 3, biased=False)
    assert g_weight[:, 5].isnan().all()
    assert g_weight.isnan().sum() == 16 * 9
