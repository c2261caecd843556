"""What a processor trains best in. The first training on a machine measures it, later ones read the answer.

The answers lie in the user's cache folder, by processor, features and torch version. Workers that start
together wait for the one that measures, so all of them get one answer.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import filelock
import torch
from pydantic import TypeAdapter, ValidationError
from torch.nn import functional as F

from ...models.convolution import convolve
from ...models.fields import Frozen
from .. import env
from ..cores import core_count
from ..files import write_text

Precision = Literal["bfloat16", "float32"]
MAX_DEVIATION = 0.03
"""Largest relative deviation of bfloat16 from float32. Its rounding alone gives about 0.004."""
FILE = "processors.json"
STEP = 2
"""Version of the step that is timed. Answers of another one are measured anew."""
N_RUNS = 4
LOCK_S = 30.0
"""How long to wait for another process that measures. It takes less than a second."""

_log = logging.getLogger(__name__)


class Answer(Frozen):
    """What was measured on one processor."""

    precision: Precision
    deviation: float | None = None
    """Largest relative deviation of bfloat16 from float32; None where bfloat16 was not tried."""
    step_ms: dict[Precision, float]
    """Milliseconds of a small training step on one thread, of the processor's time."""
    two_threads: float | None = None
    """How many times as fast the step is on two threads; None on one core or a busy machine."""


_FILE: TypeAdapter[dict[str, Answer]] = TypeAdapter(dict[str, Answer])


@functools.cache
def answer() -> Answer:
    """Return this processor's answer, once per process. Log if bfloat16 computes wrong here."""
    chosen = remembered(path(), key(), measure)
    if chosen.deviation is not None and chosen.deviation > MAX_DEVIATION:
        _log.warning(
            "bfloat16 deviates from float32 by %.3g on this processor (at most %.3g): training in "
            "float32",
            chosen.deviation,
            MAX_DEVIATION,
        )
    return chosen


def path() -> Path | None:
    """Return the file with the answers; None for a user without a home."""
    folder = env.cache_folder()
    return folder / FILE if folder else None


def key() -> str:
    """Return all that an answer depends on, as one line."""
    machine = f"{name()} | {features()} | {core_count()} cores"
    return f"{machine} | torch {torch.__version__} | step {STEP}"


def name() -> str:
    """Return the processor's name, as the system gives it."""
    return str(_capabilities().get("cpu_name") or platform.processor() or platform.machine())


def features() -> str:
    """Return the vector and matrix units that matter: "AVX512, AVX512-bf16"."""
    of = _capabilities()
    units = {
        "AVX2": torch.cpu._is_avx2_supported(),
        "AVX512": torch.cpu._is_avx512_supported(),
        "AVX512-bf16": torch.cpu._is_avx512_bf16_supported(),
        "AMX": torch.cpu._is_amx_tile_supported(),
        "NEON": of.get("neon", False),
        "SVE": of.get("sve", False),
        "bf16": of.get("bf16", False),
    }
    return ", ".join(unit for unit, present in units.items() if present) or "no vector units"


def remembered(path: Path | None, key: str, measure: Callable[[], Answer]) -> Answer:
    """Return the answer for `key` in the file at `path`. If there is none, measure it and write it there.

    A damaged file is replaced. Where the file cannot be written, every process measures.
    """
    if path is None:
        return measure()
    if stored := _read(path).get(key):
        return stored
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # released when its process dies
        with filelock.FileLock(path.with_suffix(".lock"), timeout=LOCK_S):
            answers = _read(path)  # another process may have measured meanwhile
            if key not in answers:
                answers[key] = measure()
                entries = {k: a.model_dump(mode="json") for k, a in answers.items()}
                write_text(path, json.dumps(entries, indent=1) + "\n")
            return answers[key]
    except (OSError, filelock.Timeout):
        return measure()


def measure() -> Answer:
    """Time a small training step in each precision that the processor computes in, and on two threads.

    torch's number of threads is restored, and its global generator is not used.
    """
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        step_ms: dict[Precision, float] = {"float32": _fastest_ms("float32", time.process_time)}
        deviation = bfloat16_deviation() if "bf16" in features() or "AMX" in features() else None
        if deviation is not None and deviation <= MAX_DEVIATION:
            step_ms["bfloat16"] = _fastest_ms("bfloat16", time.process_time)
        precision = min(step_ms, key=lambda p: step_ms[p])
        two_threads = None
        if core_count() > 1 and not _busy():
            one = _fastest_ms(precision, time.perf_counter)
            torch.set_num_threads(2)
            two_threads = round(one / _fastest_ms(precision, time.perf_counter), 2)
    finally:
        torch.set_num_threads(threads)
    return Answer(
        precision=precision,
        deviation=deviation if deviation is None or math.isfinite(deviation) else 1.0,
        step_ms={p: round(ms, 2) for p, ms in step_ms.items()},
        two_threads=two_threads,
    )


def bfloat16_deviation() -> float:
    """Compare a small model's outputs and gradients in bfloat16 and float32 on the CPU.

    Return the largest distance relative to the norm of the float32 tensor; NaN counts as infinite. Takes
    a few milliseconds and does not use torch's global generator.
    """
    # sizes at which maps and logits are of order 1, so that a rounding cannot tip the softmax
    # and channels and pixels that the kernels take
    sizes = {(8, 32, 14, 14): 1.0, (32, 32, 3, 3): 0.06, (8, 32 * 7 * 7): 0.03}
    tensors = _random(sizes)
    half, full = (_step(p, *tensors) for p in ("bfloat16", "float32"))
    distances = [float((a - b).norm() / b.norm()) for a, b in zip(half, full, strict=True)]
    return max(d if math.isfinite(d) else math.inf for d in distances)


def _fastest_ms(precision: str, clock: Callable[[], float]) -> float:
    """Return the milliseconds of a step with a convolution of 64 to 128 filters on 32 images."""
    tensors = _random({(32, 64, 14, 14): 1.0, (128, 64, 3, 3): 0.1, (8, 128 * 7 * 7): 0.01})
    times = []
    for _ in range(N_RUNS + 1):  # the first chooses kernels
        started = clock()
        _step(precision, *tensors)
        times.append(clock() - started)
    return 1000 * min(times[1:])


def _random(sizes: Mapping[tuple[int, ...], float]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    tensors = [size * torch.randn(shape, generator=generator) for shape, size in sizes.items()]
    return [tensors[0].to(memory_format=torch.channels_last), *tensors[1:]]


def _step(
    precision: str, images: torch.Tensor, filters: torch.Tensor, weights: torch.Tensor
) -> list[torch.Tensor]:
    """Return the logits and the gradients of the filters and weights of a convolution and a linear layer."""
    filters, weights = (t.clone().requires_grad_() for t in (filters, weights))
    if precision == "bfloat16":
        images = images.bfloat16()  # as in a training: kernels take bfloat16 maps alone
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        maps = F.avg_pool2d(convolve(images, filters), 2)
        logits = F.linear(maps.flatten(1), weights)
    logits = logits.float()
    loss = F.cross_entropy(logits, torch.arange(len(images)) % 8)
    return [logits.detach(), *torch.autograd.grad(loss, (filters, weights))]


def _capabilities() -> Mapping[str, object]:
    return torch.cpu.get_capabilities()


def _busy() -> bool:
    """Return whether other programs leave less than one core idle."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return load > core_count() - 1


def _read(path: Path) -> dict[str, Answer]:
    try:
        return _FILE.validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return {}
