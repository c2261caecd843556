"""Muon: orthogonalised momentum (Jordan et al. 2024, "Muon: an optimizer for hidden layers").

Every direction of a filter bank moves by nearly the same amount, however small its share of the gradient. On
BloodMNIST four epochs of Muon reached what eight of AdamW did (`python -m benchmarks recipe`, five seeds).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch.optim.adamw import adamw

from ...models import kernels
from .eager import Eager

N_STEPS = 3
"""Newton-Schulz iterations. Most singular values are then between 0.1 and 1.2. Small ones stay smaller: of
the first filter bank's (24 x 27) 17 to 29 % are below 0.1."""
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
FILTER_SHARE = 10.0
"""Learning rate of filters, as a multiple of the rate of all other parameters, which AdamW updates."""
MOMENTUM = 0.9
HALF_FROM = 128
"""In bfloat16 training, filter banks with at least so many rows and columns are orthogonalised in bfloat16.
Smaller products gain nothing. On an AMD EPYC (Zen 5) a bank of 64 x 576 takes 0.21 ms in bfloat16 and 0.18 ms
in float32, one of 128 x 1152 takes 0.45 and 1.14 ms."""


class Muon(Eager):
    """Orthogonalised momentum for convolution filters, AdamW for everything else.

    `lr` is AdamW's; filters move by FILTER_SHARE times as much. The weight decay is decoupled in both.
    A model without convolutions is trained by AdamW alone: orthogonalising an MLP's first layer would
    cost several times its forward and backward pass.

    With `half`, large banks are orthogonalised in bfloat16, as the method's authors do, and banks of one size
    together. Without it each bank is orthogonalised by itself, so that float32 trainings of earlier versions
    can be repeated to the bit.
    """

    def __init__(
        self, model: torch.nn.Module, *, lr: float, weight_decay: float, half: bool = False
    ) -> None:
        self.half = half
        parameters = list(model.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim == 4], "filters": True},
            {"params": [p for p in parameters if p.ndim != 4], "filters": False},
        ]
        # "fused" says, as in torch's own optimizers, that a loaded step count belongs on the device
        defaults = {"lr": lr, "weight_decay": weight_decay, "capturable": False, "fused": True}
        super().__init__([group for group in groups if group["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the parameters from their gradients. `closure` is not supported."""
        for group in self.param_groups:
            (self._step_filters if group["filters"] else self._step_others)(group)

    def _step_filters(self, group: dict[str, Any]) -> None:
        lr = group["lr"] * FILTER_SHARE
        banks = [p for p in group["params"] if p.grad is not None]
        gradients = [p.grad for p in banks]
        momenta = [self._momentum(p) for p in banks]
        if self.half and can_fuse(banks):
            step_fused(banks, momenta, lr=lr, keep=1 - lr * group["weight_decay"])
            return
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        # Nesterov's form: one step further along the momentum
        directions = torch._foreach_lerp(gradients, momenta, MOMENTUM)
        updates = together(directions) if self.half else one_by_one(directions)
        torch._foreach_mul_(updates, [lr * rate(p) for p in banks])
        torch._foreach_mul_(banks, 1 - lr * group["weight_decay"])
        torch._foreach_sub_(banks, updates)

    def _momentum(self, bank: torch.Tensor) -> torch.Tensor:
        state = self.state[bank]
        if not state:
            state["momentum"] = torch.zeros_like(bank)
        momentum: torch.Tensor = state["momentum"]
        return momentum

    def _step_others(self, group: dict[str, Any]) -> None:
        parameters = [p for p in group["params"] if p.grad is not None]
        for p in parameters:
            state = self.state[p]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32, device=p.device)
                state["exp_avg"] = torch.zeros_like(p)
                state["exp_avg_sq"] = torch.zeros_like(p)
        states = [self.state[p] for p in parameters]
        adamw(
            parameters,
            [p.grad for p in parameters],
            [s["exp_avg"] for s in states],
            [s["exp_avg_sq"] for s in states],
            [],
            [s["step"] for s in states],
            fused=True,
            amsgrad=False,
            capturable=group["capturable"],
            beta1=0.9,
            beta2=0.999,
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )


def rate(bank: torch.Tensor) -> float:
    """Return the factor of a bank's learning rate, more than 1 for matrices that are higher than wide."""
    return math.sqrt(max(1.0, len(bank) / bank[0].numel()))


def can_fuse(banks: Sequence[torch.Tensor]) -> bool:
    """Return whether the compiled kernels can walk through these filters and their gradients."""
    return all(kernels.usable(p) and p.dtype == torch.float32 for p in banks) and kernels.has(
        "muon_direction", torch.float32
    )


def step_fused(
    banks: Sequence[torch.Tensor], momenta: Sequence[torch.Tensor], *, lr: float, keep: float
) -> None:
    """Do a step of `together` with compiled kernels: two passes over memory beside the products."""
    directions, norms, by_size = [], [], defaultdict(list)
    for i, (bank, momentum) in enumerate(zip(banks, momenta, strict=True)):
        assert bank.grad is not None
        assert momentum.stride() == bank.stride()
        rows, columns = len(bank), bank[0].numel()
        size = min(rows, columns)
        dtype = torch.bfloat16 if size >= HALF_FROM else torch.float32
        direction, square = torch.empty(rows, columns, dtype=dtype), torch.empty(1).double()
        gradient = kernels.gradient(bank.grad)
        kernels.call(
            "muon_direction", dtype, gradient, momentum, bank.numel(), MOMENTUM, direction, square
        )
        directions.append(direction if rows <= columns else direction.T)
        norms.append(math.sqrt(float(square)) + 1e-7)
        by_size[size].append(i)
    for same in by_size.values():
        squares = [directions[i] @ directions[i].T * norms[i] ** -2 for i in same]
        for i, product in zip(same, _polynomial(torch.stack(squares)), strict=True):
            bank, update = banks[i], product @ directions[i]
            update = update if len(update) == len(bank) else update.T.contiguous()
            step = lr * rate(bank) / norms[i]
            kernels.call("muon_update", update.dtype, bank, update, bank.numel(), keep, step)


def one_by_one(banks: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return each bank of filters (n, c, h, w) orthogonalised as a matrix (n, c h w)."""
    return [orthogonalised(bank.flatten(1)).view(bank.shape) for bank in banks]


def together(banks: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Do the same as `one_by_one`: large banks in bfloat16, and the polynomials of one size in one batch.

    The columns stay in the order of channels-last memory, which needs no copy. `banks` are overwritten.
    """
    banks = list(banks)
    torch._foreach_div_(banks, [norm + 1e-7 for norm in torch._foreach_norm(banks)])
    wide, by_size = [], defaultdict(list)
    for i, bank in enumerate(banks):
        x = bank.permute(0, 2, 3, 1).flatten(1)
        x = x.T if len(x) > x.shape[1] else x
        wide.append(x.bfloat16() if len(x) >= HALF_FROM else x)
        by_size[len(x)].append(i)
    updates = list(banks)
    for same in by_size.values():
        products = _polynomial(torch.stack([wide[i] @ wide[i].T for i in same]))
        for i, product in zip(same, products, strict=True):
            n, c, h, w = banks[i].shape
            x = product @ wide[i]
            x = x if len(x) == n else x.T
            updates[i] = x.float().reshape(n, h, w, c).permute(0, 3, 1, 2)
    return updates


def orthogonalised(matrix: torch.Tensor) -> torch.Tensor:
    """Bring the singular values of `matrix` (rows, columns) towards 1 and keep its singular vectors.

    The iteration X <- (a + b A + c A^2) X with A = X X^T is a polynomial in the first A. Evaluating it on
    that small square matrix takes two products with the large one instead of 2 N_STEPS.
    """
    x = matrix / (matrix.norm() + 1e-7)
    if tall := x.shape[0] > x.shape[1]:
        x = x.T
    update: torch.Tensor = _polynomial(x @ x.T) @ x
    return update.T if tall else update


def _polynomial(square: torch.Tensor) -> torch.Tensor:
    """Return the product of the iterations' factors for A = `square`, (n, n) or a batch (b, n, n)."""
    a, b, c = COEFFICIENTS
    add_product = torch.addmm if square.ndim == 2 else torch.baddbmm
    product: torch.Tensor | None = None
    for step in range(N_STEPS):
        factor = add_product(square, square, square, beta=b, alpha=c)
        factor.diagonal(dim1=-2, dim2=-1).add_(a)
        product = factor if product is None else factor @ product
        if step + 1 < N_STEPS:
            square = factor @ square @ factor
    assert product is not None
    return product
