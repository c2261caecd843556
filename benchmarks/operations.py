"""Where a training step's time goes: the single operations of report A's models, beside the peak.

    python -m benchmarks operations

One thread, batch 128, in the precision that training uses; the fastest of 15 runs of each operation. A step
is timed as a whole beside their sum: what is left is what lies between them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.common import in_own_process, save, table

BATCH, N_RUNS = 128, 15
CONVOLUTIONS = ((3, 32, 28), (32, 64, 14), (64, 128, 7))


def fastest_ms(work: Callable[[], object], n_runs: int = N_RUNS) -> float:
    times = []
    for _ in range(n_runs + 2):  # the first two choose kernels
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return 1000 * min(times[2:])


def convolutions(dtype: Any) -> list[dict[str, Any]]:
    import torch
    from torch.nn import functional as F

    found = []
    for n_in, n_out, side in CONVOLUTIONS:
        x, weight, g = (
            torch.randn(shape).to(dtype).to(memory_format=torch.channels_last)
            for shape in (
                (BATCH, n_in, side, side),
                (n_out, n_in, 3, 3),
                (BATCH, n_out, side, side),
            )
        )
        bias = torch.randn(n_out).to(dtype)

        def backward(of: list[bool], g: Any = g, x: Any = x, weight: Any = weight) -> Any:
            ones, zeros = [1, 1], [0, 0]
            return torch.ops.aten.convolution_backward(
                g, x, weight, [len(weight)], ones, ones, ones, False, zeros, 1, of
            )

        flop = 2 * BATCH * n_in * n_out * 9 * side**2
        name = f"convolution {n_in} -> {n_out} at {side}x{side}"
        parts: dict[str, Callable[[], object]] = {
            "forward": partial(F.conv2d, x, weight, bias, padding=1),
            "weights' gradient": partial(backward, [False, True, True]),
        }
        if n_in > 3:  # nobody asks for the images' gradient
            parts["input's gradient"] = partial(backward, [True, False, False])
        for part, work in parts.items():
            found.append({"what": f"{name}, {part}", "ms": fastest_ms(work), "flop": flop})
    return found


def others(dtype: Any) -> list[dict[str, Any]]:
    import torch
    from torch.nn import functional as F

    from bloodsearch.models.pooling import max_pool
    from bloodsearch.search.training.predict import scale

    found = []
    for _, n_out, side in CONVOLUTIONS:
        x = torch.randn(BATCH, n_out, side, side).to(dtype).to(memory_format=torch.channels_last)
        x.requires_grad_()
        pools: dict[str, Callable[[Any], Any]] = {
            "ours": lambda x: max_pool(x, relu=True),
            "torch's": lambda x: F.max_pool2d(x, 2).relu(),
        }
        for what, pool in pools.items():
            y = pool(x)
            g = torch.randn_like(y)
            name = f"2x2 max-pooling and ReLU of {n_out} x {side}x{side}, {what}"
            found.append({"what": f"{name}, forward", "ms": fastest_ms(partial(pool, x))})
            backward = partial(torch.autograd.grad, y, x, g, retain_graph=True)
            found.append({"what": f"{name}, backward", "ms": fastest_ms(backward)})
    weight = torch.randn(1024, 2352).to(dtype)
    flat, g = torch.randn(BATCH, 2352).to(dtype), torch.randn(BATCH, 1024).to(dtype)
    flop = 2 * BATCH * weight.numel()
    found += [
        {"what": "linear 2352 -> 1024, forward", "ms": fastest_ms(lambda: F.linear(flat, weight)),
         "flop": flop},
        {"what": "linear 2352 -> 1024, weights' gradient", "ms": fastest_ms(lambda: g.t() @ flat),
         "flop": flop},
    ]  # fmt: skip
    parameter = torch.nn.Parameter(torch.randn(1024, 2352))
    parameter.grad = torch.randn_like(parameter)
    adam = torch.optim.Adam([parameter], fused=True)
    found.append({"what": "Adam, 2352 x 1024 weights", "ms": fastest_ms(adam.step)})
    images = torch.randint(256, (BATCH, 28, 28, 3), dtype=torch.uint8)
    found.append({"what": "bytes to scaled pixels", "ms": fastest_ms(lambda: scale(images, dtype))})
    return found


def whole_step(name: str, dtype: Any) -> float:
    import torch

    from benchmarks.engine_cases import case
    from bloodsearch.models import build_model
    from bloodsearch.search.training.losses import make_loss
    from bloodsearch.search.training.optimizers import make_optimizer
    from bloodsearch.search.training.step import Step

    config = case(name, epochs=1)
    model: Any = build_model(config.model)
    model = model.to(memory_format=torch.channels_last)
    labels = torch.arange(BATCH) % 8
    step = Step(
        model,
        make_optimizer(config.optimizer, model, dtype),
        make_loss(config.loss, labels, config.model.shape.classes),
        dtype,
    )
    images = torch.randint(256, (BATCH, 28, 28, 3), dtype=torch.uint8)
    model.train()
    return fastest_ms(lambda: step(images, labels))


def child() -> None:
    import torch

    from benchmarks.peak import measured_peak
    from bloodsearch.search.training.allocator import keep_freed_blocks
    from bloodsearch.search.training.device import choose_precision

    torch.set_num_threads(1)
    torch.manual_seed(0)
    keep_freed_blocks()
    precision = choose_precision(torch.device("cpu"))
    dtype = getattr(torch, precision)
    peak = measured_peak(precision)
    operations = convolutions(dtype) + others(dtype)
    steps = {name: whole_step(name, dtype) for name in ("A CNN", "A MLP")}
    peak = max(peak, measured_peak(precision))
    print(
        json.dumps({"precision": precision, "peak": peak, "operations": operations, "steps": steps})
    )


def run() -> None:
    found = in_own_process("operations")
    rows = [
        [row["what"], f"{row['ms']:.2f}", _rate(row), _share(row, found["peak"])]
        for row in found["operations"]
    ]
    rows += [
        [f"a whole step of {name}", f"{ms:.1f}", "", ""] for name, ms in found["steps"].items()
    ]
    peak = f"{found['peak'] / 1e9:.0f} GFLOP/s"
    title = f"single operations in {found['precision']}, one thread, batch {BATCH}; peak {peak}"
    table(title, ["operation", "ms", "GFLOP/s", "of the peak"], rows)
    save("operations", found, by_processor=True)


def _rate(row: dict[str, Any]) -> str:
    return f"{row['flop'] / row['ms'] / 1e6:.0f}" if "flop" in row else ""


def _share(row: dict[str, Any], peak: float) -> str:
    return f"{row['flop'] / row['ms'] * 1000 / peak:.0%}" if "flop" in row else ""


if __name__ == "__main__":
    child()
