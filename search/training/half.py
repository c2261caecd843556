"""bfloat16 copies of a model's large weights, and an optimizer's step that keeps them up to date.

Autocast casts each weight at each use, and each gradient back to float32. For a wide layer these passes over
memory take as long as Adam itself. Here one kernel reads the bfloat16 gradient, updates moments and float32
weight, and writes the new bfloat16 copy (`models/kernels/optimizer.h`).
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import nn

from ...models import kernels

LARGE = 2**18
"""Elements from which a weight has a copy. With 73,000 to 147,000 nothing was gained (report A's CNN)."""
UNKNOWN = ("amsgrad", "maximize", "dampening")
"""Options of torch's optimizers that the kernels do not have."""


class HalfCopy:
    """A model that shares everything with `original` but its large weights, which are bfloat16 copies."""

    def __init__(self, original: nn.Module) -> None:
        large = {id(weight) for weight in large_weights(original)}
        tensors = [*original.parameters(), *original.buffers()]
        self.model = copy.deepcopy(original, {id(t): t for t in tensors if id(t) not in large})
        pairs = zip(original.parameters(), self.model.parameters(), strict=True)
        self.pairs = [(full, half) for full, half in pairs if full is not half]
        for _, half in self.pairs:
            half.data = half.data.to(torch.bfloat16)
        self._versions: list[int] = []

    @torch.no_grad()
    def refresh(self) -> None:
        """Copy weights that something other than `update` has changed, such as a resume."""
        versions = [full._version for full, _ in self.pairs]
        if versions != self._versions:
            for full, half in self.pairs:
                half.copy_(full)
            self._versions = versions

    @torch.no_grad()
    def update(self, optimizer: torch.optim.Optimizer) -> None:
        """Update the large weights from their copies' gradients, as `optimizer` would, and their copies.

        The optimizer's state has the names and shapes of torch's.
        """
        step = _sgd if isinstance(optimizer, torch.optim.SGD) else _adam
        group_of = {id(p): group for group in optimizer.param_groups for p in group["params"]}
        for full, half in self.pairs:
            if half.grad is not None:
                step(full, half, group_of[id(full)], optimizer.state)
                half.grad = None


def large_weights(model: nn.Module) -> list[nn.Parameter]:
    """Return the weights of convolutions and linear layers that are worth a copy."""
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    weights = [parameter for layer in layers for parameter in layer.parameters(recurse=False)]
    return [weight for weight in weights if weight.numel() >= LARGE and weight.requires_grad]


def can_copy(model: nn.Module, optimizer: torch.optim.Optimizer) -> bool:
    """Return whether a HalfCopy is possible here and worth it."""
    kinds = (torch.optim.Adam, torch.optim.SGD)  # AdamW is an Adam
    weights = large_weights(model)
    on_cpu = all(w.device.type == "cpu" and w.dtype == torch.float32 for w in weights)
    built = kernels.has("adam", torch.bfloat16) and kernels.has("sgd", torch.bfloat16)
    known = not any(group.get(option) for group in optimizer.param_groups for option in UNKNOWN)
    return isinstance(optimizer, kinds) and bool(weights) and on_cpu and built and known


def _adam(full: torch.Tensor, half: torch.Tensor, group: dict[str, Any], states: Any) -> None:
    state = states[full]
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(full), torch.zeros_like(full)
    assert state["exp_avg"].stride() == state["exp_avg_sq"].stride() == full.stride()
    state["step"] += 1
    n, (beta1, beta2) = int(state["step"]), group["betas"]
    lr, decay = float(group["lr"]), float(group["weight_decay"])
    decoupled = group["decoupled_weight_decay"]
    kernels.call(
        *("adam", half.dtype, full, state["exp_avg"], state["exp_avg_sq"]),
        *(_gradient(half), half, full.numel(), float(beta1), float(beta2), float(group["eps"])),
        *((0.0, lr * decay) if decoupled else (decay, 0.0)),
        *(lr / (1 - beta1**n), math.sqrt(1 - beta2**n)),
    )


def _sgd(full: torch.Tensor, half: torch.Tensor, group: dict[str, Any], states: Any) -> None:
    momentum, buffer, first = float(group["momentum"]), None, 0
    if momentum:
        state = states[full]
        first = int(state.get("momentum_buffer") is None)
        if first:
            state["momentum_buffer"] = torch.empty_like(full)
        buffer = state["momentum_buffer"]
        assert buffer.stride() == full.stride()
    kernels.call(
        *("sgd", half.dtype, full, buffer),
        *(_gradient(half), half, full.numel(), float(group["lr"]), momentum),
        *(int(group["nesterov"]), float(group["weight_decay"]), first),
    )


def _gradient(half: torch.Tensor) -> torch.Tensor:
    """Return the gradient in the memory order of its weight, which the kernels walk through."""
    assert half.grad is not None
    if half.grad.stride() == half.stride():
        return half.grad
    return torch.empty_like(half).copy_(half.grad)
