"""The cost of a model: its number of parameters, and milliseconds per image on one core."""

from __future__ import annotations

import statistics
import time

import torch

from ...models import ModelConfig, build_model

N_RUNS = 15


def n_parameters(config: ModelConfig) -> int:
    """Count the trainable parameters of the model without allocating them."""
    with torch.device("meta"):
        return sum(p.numel() for p in build_model(config).parameters())


@torch.inference_mode()
def latency_ms(config: ModelConfig) -> float:
    """Measure the median milliseconds per image on one thread of this CPU, in float32.

    The weights are new: the time does not depend on them. torch's generator and number of threads are
    restored.
    """
    shape = config.shape
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(1)
    try:
        model = build_model(config).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        image = torch.zeros(1, shape.channels, shape.size, shape.size).to(
            memory_format=torch.channels_last
        )
        seconds = []
        for _ in range(N_RUNS):
            started = time.perf_counter()
            model(image)
            seconds.append(time.perf_counter() - started)
        return 1000 * statistics.median(seconds)
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)
