"""Dropout by lanes: the right share, the right scale, torch's generator, nothing in evaluation."""

from __future__ import annotations

import pytest
import torch

from bloodsearch.models.dropout import Dropout

N = 400_000


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.0, 0.2, 0.5, 0.95])
def test_a_share_p_is_dropped_and_the_rest_scaled(p: float, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    out = Dropout(p)(torch.ones(N, dtype=dtype))
    scale = float(torch.tensor(1 / (1 - p), dtype=dtype))
    assert set(out.unique().tolist()) <= {0.0, scale}
    # five standard deviations of a binomial share
    assert abs(float((out == 0).float().mean()) - p) <= 5 * (p * (1 - p) / N) ** 0.5


def test_neighbours_are_independent() -> None:
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(N, dtype=torch.bfloat16)) > 0).double() - 0.5
    for lag in (1, 2, 3, 4, 8):  # several elements share one draw
        assert abs(float((kept[lag:] * kept[:-lag]).mean())) < 5 * 0.25 / N**0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_gradient_has_the_same_mask(dtype: torch.dtype) -> None:
    x = torch.randn(33, 7, dtype=dtype, requires_grad=True)
    out = Dropout(0.3)(x)
    out.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(out, x * x.grad)
    assert 0 < int((x.grad == 0).sum()) < x.numel()


def test_torchs_seed_decides() -> None:
    masks = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        masks.append(Dropout(0.5)(torch.ones(1000)))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_evaluation_changes_nothing() -> None:
    x = torch.randn(10, 10)
    assert torch.equal(Dropout(0.5).eval()(x), x)
