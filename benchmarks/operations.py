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
GRADIENTS = (
    (3, 64, 28), (3, 16, 28), (16, 32, 14), (32, 64, 14), (64, 64, 14), (64, 128, 14),
    (64, 128, 7), (128, 128, 7), (128, 256, 7), (128, 128, 3), (256, 256, 3),
)  # fmt: skip
WHOLE = (
    (16, 16, 14), (16, 32, 14), (32, 32, 7), (32, 64, 7), (24, 24, 14), (32, 32, 14), (32, 64, 14),
    (64, 64, 14), (64, 64, 7), (64, 128, 14), (64, 128, 7), (128, 128, 7), (128, 256, 7), (64, 64, 3),
    (128, 128, 3), (256, 256, 3),
)  # fmt: skip
"""Inner convolutions of networks of 16, 24, 32 and 64 filters."""


def fastest_ms(work: Callable[[], object], n_runs: int = N_RUNS) -> float:
    times = []
    for _ in range(n_runs + 2):  # the first two choose kernels
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return 1000 * min(times[2:])


def maps(n_in: int, n_out: int, side: int, dtype: Any) -> tuple[Any, Any, Any]:
    """Return a convolution's input, weight and output's gradient in channels-last memory."""
    import torch

    shapes = ((BATCH, n_in, side, side), (n_out, n_in, 3, 3), (BATCH, n_out, side, side))
    x, weight, g = (
        torch.randn(shape).to(dtype).to(memory_format=torch.channels_last) for shape in shapes
    )
    return x, weight, g


def onednn_backward(x: Any, weight: Any, g: Any, of: list[bool]) -> object:
    """Compute the gradients of input, weights and bias that `of` asks for."""
    import torch

    ones, zeros = [1, 1], [0, 0]
    return torch.ops.aten.convolution_backward(
        g, x, weight, [len(weight)], ones, ones, ones, False, zeros, 1, of
    )


def convolutions(dtype: Any) -> list[dict[str, Any]]:
    import torch
    from torch.nn import functional as F

    found = []
    for n_in, n_out, side in CONVOLUTIONS:
        x, weight, g = maps(n_in, n_out, side, dtype)
        bias = torch.randn(n_out).to(dtype)
        backward = partial(onednn_backward, x, weight, g)
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


def gradients() -> list[list[str]]:
    """Time the gradient of convolutions' weights, oneDNN's and the kernel's: rows of shape, ms, ms, ratio."""
    import torch

    from bloodsearch.models.convolution import by_amx, by_avx512, kind_for

    rows = []
    for n_in, n_out, side in GRADIENTS:
        x, weight, g = maps(n_in, n_out, side, torch.bfloat16)
        kind = kind_for(x, weight)
        if kind is None:
            continue
        onednn = partial(onednn_backward, x, weight, g, [False, True, True])
        ours = partial(by_amx if kind == "amx" else by_avx512, x, g, 3, biased=True)
        times = [fastest_ms(onednn), fastest_ms(ours)]
        shape = f"{n_in} -> {n_out}, {side} x {side}"
        rows.append([shape, *(f"{ms:.2f}" for ms in times), f"{times[0] / times[1]:.1f}x"])
    return rows


def in_float32() -> list[list[str]]:
    """Time whole convolutions, oneDNN's and Winograd's: rows of shape, ms by pass, ratio of the sums."""
    import torch
    from torch.nn import functional as F

    from bloodsearch.models import winograd

    rows = []
    for n_in, n_out, side in WHOLE:
        x, weight, g = maps(n_in, n_out, side, torch.float32)
        if not winograd.usable(x, weight):
            continue
        backward = partial(onednn_backward, x, weight, g)
        pairs: list[tuple[Callable[[], object], Callable[[], object]]] = [
            (partial(F.conv2d, x, weight, padding=1), partial(winograd.convolve, x, weight, None)),
            (partial(backward, [True, False, False]), partial(winograd.input_gradient, g, weight)),
            (partial(backward, [False, True, False]), partial(winograd.weight_gradient, x, g)),
        ]
        times = [[fastest_ms(work) for work in pair] for pair in pairs]
        onednn, ours = (sum(column) for column in zip(*times, strict=True))
        shape = f"{n_in} -> {n_out}, {side} x {side}"
        both = (f"{theirs:.2f} / {mine:.2f}" for theirs, mine in times)
        rows.append([shape, *both, f"{onednn / ours:.1f}x"])
    return rows


def first_layers() -> list[list[str]]:
    """Time the first layer and its pooling both ways, torch's operations and the kernel: as `gradients`."""
    import torch
    from torch.nn import functional as F

    from bloodsearch.models.convolution import Convolution
    from bloodsearch.models.first_layer import conv_pool, is_first
    from bloodsearch.models.pooling import max_pool

    rows = []
    for n_out in (16, 32, 64):
        x, _, _ = maps(3, n_out, 28, torch.bfloat16)
        layer = Convolution(3, n_out, 3, bias=True).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if not is_first(x, layer):
            continue

        def plain(x: Any = x, layer: Any = layer) -> Any:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return max_pool(F.conv2d(x, layer.weight, layer.bias, padding=1), relu=True)

        def both_ways(work: Callable[[], Any], layer: Any = layer) -> None:
            out = work()
            torch.autograd.grad(out, (layer.weight, layer.bias), torch.ones_like(out))

        times = [
            fastest_ms(partial(both_ways, work))
            for work in (plain, partial(conv_pool, x, layer, relu=True))
        ]
        rows.append([str(n_out), *(f"{ms:.2f}" for ms in times), f"{times[0] / times[1]:.1f}x"])
    return rows


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
    found = {"precision": precision, "peak": peak, "operations": operations, "steps": steps}
    kernels = {"gradients": gradients(), "first_layers": first_layers(), "whole": in_float32()}
    print(json.dumps({**found, **kernels}))


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
    kernels = {
        "gradients": ("the gradient of a 3 x 3 convolution's weights", "channels, pixels"),
        "first_layers": ("the first layer with pooling and ReLU, forward and backward", "filters"),
    }
    for key, (what, first) in kernels.items():
        if found[key]:
            columns = [first, "torch's operations, ms", "kernel, ms", "ratio"]
            table(f"{what} in bfloat16, one thread, batch {BATCH}", columns, found[key])
    if found["whole"]:
        columns = ["channels, pixels", "forward: oneDNN / Winograd, ms", "input's gradient"]
        columns += ["weights' gradient", "ratio of the sums"]
        table(f"3 x 3 convolutions in float32, one thread, batch {BATCH}", columns, found["whole"])
    save("operations", found, by_processor=True)


def _rate(row: dict[str, Any]) -> str:
    return f"{row['flop'] / row['ms'] / 1e6:.0f}" if "flop" in row else ""


def _share(row: dict[str, Any], peak: float) -> str:
    return f"{row['flop'] / row['ms'] * 1000 / peak:.0%}" if "flop" in row else ""


if __name__ == "__main__":
    child()
