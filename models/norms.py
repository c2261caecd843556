"""BatchNorm and ReLU between two convolutions, with the pooling before or the residual sum after them."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from . import kernels
from .pooling import max_pool


def pool_norm_relu(x: torch.Tensor, norm: nn.Module) -> torch.Tensor:
    """Return ReLU(BatchNorm(2x2 max-pooling of `x`)): (n, c, h, w) to (n, c, h // 2, w // 2)."""
    if _is_fast_here(x, norm, None, pool=True):
        return _fused(x, norm, None, pool=True)
    return torch.relu(norm(max_pool(x, relu=False)))


def norm_relu(x: torch.Tensor, norm: nn.Module, residual: torch.Tensor | None) -> torch.Tensor:
    """Return ReLU(BatchNorm(`x`)), plus `residual` if there is one. All have the shape of `x`."""
    if residual is None or (
        kernels.usable(residual) and (residual.shape, residual.dtype) == (x.shape, x.dtype)
    ):
        if _is_fast_here(x, norm, residual, pool=False):
            return _fused(x, norm, residual, pool=False)
        if isinstance(norm, nn.Identity) and kernels.usable(x):
            out: torch.Tensor = _Relu.apply(x, residual)  # type: ignore[no-untyped-call]
            return out
    y = torch.relu(norm(x))
    return y if residual is None else residual + y


def _is_fast_here(
    x: torch.Tensor, norm: nn.Module, residual: torch.Tensor | None, *, pool: bool
) -> bool:
    """Return whether the kernels normalise here: in bfloat16, and in float32 with one thread on AVX2.

    In float32 they add up in another order than torch. So they are used only where Winograd's convolutions
    change the last bits of a curve anyway.
    """
    if not (
        isinstance(norm, nn.BatchNorm2d)
        and (x.dtype == torch.bfloat16 or kernels.on_one_avx2_core())
        and kernels.usable(x)
    ):
        return False
    n, c, h, w = x.shape
    n_values = n * (h // 2) * (w // 2) if pool else n * h * w
    parameters = [norm.weight, norm.bias]
    # the kernels evaluate without a gradient
    differentiable = [t for t in (x, residual, *parameters) if t is not None and t.requires_grad]
    return (
        n_values > 1
        and norm.momentum is not None
        and all(_is_row(t, c) for t in (*parameters, norm.running_mean, norm.running_var))
        and (norm.training or not (torch.is_grad_enabled() and differentiable))
    )


def _is_row(t: torch.Tensor | None, c: int) -> bool:
    """Return whether kernels can read c numbers there."""
    return (
        t is not None
        and t.shape == (c,)
        and t.dtype == torch.float32
        and t.device.type == "cpu"
        and t.is_contiguous()
    )


def _fused(
    x: torch.Tensor, norm: nn.Module, residual: torch.Tensor | None, *, pool: bool
) -> torch.Tensor:
    assert isinstance(norm, nn.BatchNorm2d)
    if not norm.training:
        return _evaluated(max_pool(x, relu=False) if pool else x, norm, residual)
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    out: torch.Tensor = _NormRelu.apply(x, norm.weight, norm.bias, residual, norm, pool)  # type: ignore[no-untyped-call]
    return out


def _evaluated(
    y: torch.Tensor, norm: nn.BatchNorm2d, residual: torch.Tensor | None
) -> torch.Tensor:
    """Normalise with the running statistics. There is no gradient."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    stats = torch.stack([norm.running_mean, scale, scale, norm.bias - norm.running_mean * scale])
    out = torch.empty_like(y)
    n, c, h, w = y.shape
    kernels.call("affine", y.dtype, y, residual, stats, n * h * w, c, out)
    return out


class _NormRelu(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        residual: torch.Tensor | None,
        norm: nn.BatchNorm2d,
        pool: bool,
    ) -> torch.Tensor:
        n, c, h, w = x.shape
        out = kernels.like(x, h // 2, w // 2) if pool else torch.empty_like(x)
        y = torch.empty_like(out) if pool else x
        source = torch.empty(out.shape, dtype=torch.uint8) if pool else None
        sums = torch.empty(2, c, dtype=torch.float64)
        stats = torch.empty(4, c)
        kernels.call(
            "norm", x.dtype, x, n, h, w, c, y, source, weight, bias,
            norm.running_mean, norm.running_var, norm.momentum, norm.eps, residual, sums, stats, out,
        )  # fmt: skip
        ctx.save_for_backward(y, source, stats)
        ctx.size = (n, h, w, c)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        y, source, stats = ctx.saved_tensors
        n, h, w, c = ctx.size
        g = kernels.gradient(grad)
        sums, line = torch.empty(2, c, dtype=torch.float64), torch.empty(2, c)
        image = torch.empty(y[0].numel(), dtype=y.dtype)
        g_x = kernels.like(y, h, w)
        g_weight, g_bias = torch.empty(c), torch.empty(c)
        kernels.call(
            "norm_backward", y.dtype, g, y, source, n, h, w, c,
            stats, sums, line, image, g_x, g_weight, g_bias,
        )  # fmt: skip
        residual = grad if ctx.needs_input_grad[3] else None
        return g_x, g_weight, g_bias, residual, None, None


class _Relu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, residual: torch.Tensor | None) -> torch.Tensor:
        out = torch.empty_like(x)
        kernels.call("relu", x.dtype, x, residual, x.numel(), out)
        ctx.save_for_backward(x)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        g_x = torch.empty_like(x)
        kernels.call("relu_backward", x.dtype, kernels.gradient(grad), x, x.numel(), g_x)
        return g_x, grad if ctx.needs_input_grad[1] else None
