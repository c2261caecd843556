"""The weights' gradient is torch's within bfloat16's rounding, whichever way it is computed."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from bloodsearch.models import convolution, kernels
from bloodsearch.models.convolution import Convolution, by_amx, by_avx512

# n, inputs, outputs, pixels of a side, side of the filters
SHAPES = [
    (4, 64, 64, 7, 3),
    (3, 24, 20, 5, 3),
    (1, 16, 8, 3, 3),
    (5, 48, 16, 6, 5),
    (2, 96, 5, 3, 7),
    (7, 130, 33, 1, 3),
    (130, 16, 16, 14, 3),
    (37, 3, 20, 9, 3),
    (5, 3, 16, 6, 5),
    (3, 1, 18, 5, 7),
    (3, 40, 24, 62, 3),
]


WAYS = {"amx": by_amx, "avx512": by_avx512}


def skip_unless_here(kind: str) -> None:
    here = {
        "amx": convolution.has_amx(),
        "avx512": kernels.has("weight_gradient", torch.bfloat16),
    }
    if not here[kind]:
        pytest.skip("this processor has no kernel for it")


def maps(n: int, channels: int, side: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((n, channels, side, side), generator=generator)
    return x.bfloat16().to(memory_format=torch.channels_last)


@pytest.mark.parametrize("kind", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_are_torchs(shape: tuple[int, ...], kind: str) -> None:
    skip_unless_here(kind)
    n, n_in, n_out, side, filters = shape
    x, g = maps(n, n_in, side, 0), maps(n, n_out, side, 1)
    weight = torch.zeros(n_out, n_in, filters, filters, requires_grad=True)
    bias = torch.zeros(n_out, requires_grad=True)
    F.conv2d(x.float(), weight, bias, padding=filters // 2).backward(g.float())
    gradients = WAYS[kind]
    for found, wanted in zip(
        gradients(x, g, filters, biased=True), (weight.grad, bias.grad), strict=True
    ):
        assert found is not None
        assert wanted is not None
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=5e-5 * float(wanted.abs().max()))
    assert gradients(x, g, filters, biased=False)[1] is None


@pytest.mark.parametrize("kind", WAYS)
def test_a_layer_trains_like_torchs(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_unless_here(kind)
    results = []
    for chosen in (None, kind):
        monkeypatch.setattr(convolution, "kind_for", lambda x, weight, chosen=chosen: chosen)
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


def test_float32_and_evaluation_take_torchs_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "on_one_avx2_core", lambda: False)
    layer = Convolution(16, 16, 3, bias=False)
    x = maps(2, 16, 3, 0)
    assert convolution.kind_for(x.float(), layer.weight) is None
    assert type(layer(x.float().requires_grad_()).grad_fn).__name__ == "ConvolutionBackward0"


@pytest.mark.parametrize("kind", WAYS)
def test_an_infinity_reaches_the_gradient(kind: str) -> None:
    skip_unless_here(kind)
    x, g = maps(2, 16, 3, 0), maps(2, 16, 3, 1)
    x[0, 5, 1, 1] = torch.nan
    g_weight, _ = WAYS[kind](x, g, 3, biased=False)
    assert g_weight[:, 5].isnan().all()
    assert g_weight.isnan().sum() == 16 * 9
