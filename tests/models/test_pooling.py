"""The fast pooling is torch's, to the bit, forward and backward, ties and odd sizes included."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from bloodsearch.models import pooling
from bloodsearch.models.pooling import max_pool

SHAPES = [(3, 32, 28, 28), (2, 5, 7, 7), (1, 1, 2, 3), (4, 8, 3, 2), (2, 16, 14, 14)]


def make(shape: tuple[int, ...], dtype: torch.dtype, *, ties: bool) -> torch.Tensor:
    """Normal values; with `ties` a handful of distinct ones, both zeros among them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator)
    if ties:
        x = x.round()  # -0.0 and 0.0 compare equal and have different bits
    return x.to(dtype).to(memory_format=torch.channels_last)


def both(x: torch.Tensor, relu: bool) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(output, gradient) of torch's operations and of ours."""
    found = []
    for ours in (False, True):
        source = x.clone(memory_format=torch.preserve_format).requires_grad_()
        if ours:
            assert pooling._is_fast_here(source)
            y = max_pool(source, relu=relu)
        else:
            y = F.max_pool2d(source, 2)
            y = y.relu() if relu else y
        grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(x.dtype)
        y.backward(grad)
        assert source.grad is not None
        found.append((y.detach(), source.grad))
    return found


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_torchs_pooling(
    shape: tuple[int, ...], dtype: torch.dtype, relu: bool, ties: bool
) -> None:
    (wanted, wanted_grad), (found, found_grad) = both(make(shape, dtype, ties=ties), relu)
    assert torch.equal(found, wanted)
    assert torch.equal(found_grad, wanted_grad)


def test_infinities_are_numbers() -> None:
    x = make((2, 4, 4, 4), torch.float32, ties=False)
    x[0, 0, 0, 0], x[0, 1, 0, 0], x[1, :, :2, :2] = torch.inf, -torch.inf, -torch.inf
    for relu in (False, True):
        (wanted, wanted_grad), (found, found_grad) = both(x, relu)
        assert torch.equal(found, wanted)
        assert torch.equal(found_grad, wanted_grad)


def test_without_a_relu_a_nan_stays_one() -> None:
    x = make((1, 2, 4, 4), torch.bfloat16, ties=False)
    x[0, 0, 3, 2] = torch.nan
    assert max_pool(x, relu=False).isnan().sum() == 1


@pytest.mark.parametrize("relu", [False, True])
def test_other_memory_and_types_take_torchs_path(relu: bool) -> None:
    contiguous = torch.randn(2, 3, 6, 6)
    wide = contiguous.double().to(memory_format=torch.channels_last)
    for x in (contiguous, wide):
        assert not pooling._is_fast_here(x)
        pooled = F.max_pool2d(x, 2)
        assert torch.equal(max_pool(x, relu=relu), pooled.relu() if relu else pooled)


def test_an_exported_graph_holds_plain_operations() -> None:
    class Net(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return max_pool(x, relu=True)

    x = make((2, 4, 6, 6), torch.float32, ties=False)
    names = [str(node.target) for node in torch.export.export(Net(), (x,)).graph.nodes]
    assert any("max_pool2d" in name for name in names), names
