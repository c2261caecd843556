"""What a CUDA device does: workers that share it, seconds an epoch, seconds to a validation macro-F1.

    python -m benchmarks gpu        # needs a CUDA device; `make bench` leaves it out

An epoch is training and validation. It is compared with the standard loop on the same device, whose images
still come from a DataLoader in the training process. Each figure of ours is taken with and without the
captured step (`training.cuda_graph`). The test split is not opened.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from benchmarks.common import save, shown, spread, sqlite_urls, table
from benchmarks.engine_cases import MEDIAN_CNN, case
from benchmarks.quality import RECIPES
from benchmarks.standard_loop import StandardLoop
from bloodsearch import Placement, optimize
from bloodsearch.search.data.load import Dataset, load_dataset
from bloodsearch.search.sampling.space import to_config
from bloodsearch.search.training.config import TrialConfig
from bloodsearch.search.training.device import to_device
from bloodsearch.search.training.fit import EpochResult, fit

DEVICE = "cuda:0"
WORKERS = (1, 2, 4, 8)
SEARCH_S = 60.0
MODELS = ("A CNN", "A MLP", MEDIAN_CNN)
N_EPOCHS = 5
TARGET = 0.938
"""Report A's published macro-F1, here on validation."""
FIRST_SEED, N_SEEDS, N_STANDARD_SEEDS = 11, 20, 3
STANDARD_EPOCHS = 40
LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch")
"""Beginnings of the names of the calls that launch something on the device."""


@contextlib.contextmanager
def utilization() -> Iterator[list[int]]:
    """Yield a list that holds the device's utilisation in percent, second by second, after the context.

    It stays empty without nvidia-smi.
    """
    samples: list[int] = []
    if not shutil.which("nvidia-smi"):
        yield samples
        return
    asked = ["--id=0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "--loop=1"]
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(["nvidia-smi", *asked], stdout=out)
        try:
            yield samples
        finally:
            process.terminate()
            process.wait()
        out.seek(0)
        samples += [int(line) for line in out if line.strip().isdecimal()]


def trials_an_hour(
    study: Any, device: str, n_workers: int, *, seconds: float, n_trials: int = 10**6, **more: Any
) -> dict[str, Any]:
    """Search for so many seconds, or trials, and return the rate. The time includes the workers' start."""
    placement = Placement(device, n_workers, n_workers)
    with sqlite_urls() as fresh, utilization() as samples:
        found = optimize(
            study,
            trials=n_trials,
            timeout_s=seconds,
            storage=fresh(),
            placement=placement,
            **more,
        )
    n_finished = found.complete + found.pruned
    return {
        "workers": n_workers,
        "threads": placement.slots(1)[0].threads,
        "finished": n_finished,
        "trials_an_hour": 3600 * n_finished / found.elapsed_seconds,
        "utilization": statistics.fmean(samples) if samples else None,
    }


def our_epochs(
    config: TrialConfig, splits: Dataset, device: str, *, cuda_graph: bool
) -> dict[str, Any]:
    """Return the seconds of every epoch but the first, which warms up."""
    data = to_device(splits, torch.device(device))
    result = fit(config, data, seed=0, cuda_graph=cuda_graph)
    return spread([epoch.seconds for epoch in result.history[1:]])


def launches_a_step(
    config: TrialConfig, splits: Dataset, device: str, *, cuda_graph: bool
) -> float:
    """Return the kernels and graphs that the host launches in the second epoch, per training step."""
    data = to_device(splits, torch.device(device))
    profiler = torch.profiler.profile()

    def on_epoch(result: EpochResult) -> None:
        (profiler.start if result.epoch == 1 else profiler.stop)()

    two = config.model_copy(update={"epochs": 2})
    fit(two, data, seed=0, on_epoch=on_epoch, cuda_graph=cuda_graph)
    counts = {event.key: event.count for event in profiler.key_averages()}
    n_launches: int = sum(count for key, count in counts.items() if key.startswith(LAUNCHES))
    return n_launches / math.ceil(len(splits.train_images) / config.batch_size)


def standard_epochs(config: TrialConfig, splits: Dataset, device: str) -> dict[str, Any]:
    """Return the same for the standard loop."""
    loop = StandardLoop(config, splits, seed=0, device=device)
    return spread([loop.epoch().seconds for _ in range(config.epochs)][1:])


def seconds_to(
    target: float, config: TrialConfig, splits: Dataset, seed: int, device: str, *, cuda_graph: bool
) -> float | None:
    """Return the seconds from the start of a training to the first epoch at `target`, None for never."""
    data = to_device(splits, torch.device(device))
    reached: list[float] = []
    started = time.perf_counter()

    def on_epoch(result: EpochResult) -> None:
        if result.val_macro_f1 >= target:
            reached.append(time.perf_counter() - started)

    fit(config, data, seed=seed, on_epoch=on_epoch, cuda_graph=cuda_graph)
    return reached[0] if reached else None


def standard_seconds_to(
    target: float, config: TrialConfig, splits: Dataset, seed: int, device: str
) -> float | None:
    """Return the same for the standard loop."""
    started = time.perf_counter()
    loop = StandardLoop(config, splits, seed=seed, device=device)
    for _ in range(config.epochs):
        if loop.epoch().val_macro_f1 >= target:
            return time.perf_counter() - started
    return None


def run() -> None:
    if not torch.cuda.is_available():
        print("the benchmark gpu needs a CUDA device: torch sees none", file=sys.stderr)
        sys.exit(2)
    name = torch.cuda.get_device_name(DEVICE)
    splits = load_dataset("bloodmnist")
    # the standard loops come first: `fit` changes how this process allocates memory
    epochs = [(model, case(model, epochs=N_EPOCHS + 1)) for model in MODELS]
    standard = {model: standard_epochs(config, splits, DEVICE) for model, config in epochs}
    usual = case("A CNN", epochs=STANDARD_EPOCHS)
    seeds = range(FIRST_SEED, FIRST_SEED + N_SEEDS)
    usual_s = [
        standard_seconds_to(TARGET, usual, splits, seed, DEVICE)
        for seed in seeds[:N_STANDARD_SEEDS]
    ]
    ours = {
        (model, cuda_graph): our_epochs(config, splits, DEVICE, cuda_graph=cuda_graph)
        | {"launches": launches_a_step(config, splits, DEVICE, cuda_graph=cuda_graph)}
        for model, config in epochs
        for cuda_graph in (False, True)
    }
    recipe = to_config(RECIPES["A CNN"], epochs=1, patience=0)
    ours_s = {}
    for cuda_graph in (False, True):
        seconds_to(TARGET, recipe, splits, 0, DEVICE, cuda_graph=cuda_graph)  # warms up
        ours_s[cuda_graph] = [
            seconds_to(TARGET, recipe, splits, seed, DEVICE, cuda_graph=cuda_graph)
            for seed in seeds
        ]
    shared = [
        trials_an_hour("bloodmnist", DEVICE, n, seconds=SEARCH_S, baselines=False) for n in WORKERS
    ]
    show(name, standard, ours, usual_s, ours_s, shared)
    result = {
        "device": name,
        "standard_epochs": standard,
        "epochs": {f"{model}, {_step(graph)}": found for (model, graph), found in ours.items()},
        "standard_seconds_to_target": usual_s,
        "seconds_to_target": {_step(graph): found for graph, found in ours_s.items()},
        "trials_an_hour": shared,
    }
    save("gpu", result, by_processor=True)


def show(
    name: str,
    standard: dict[str, dict[str, Any]],
    ours: dict[tuple[str, bool], dict[str, Any]],
    usual_s: Sequence[float | None],
    ours_s: dict[bool, list[float | None]],
    shared: Sequence[dict[str, Any]],
) -> None:
    """Print and keep the tables of all figures."""
    rows = [
        [
            model,
            _step(cuda_graph),
            shown(found, digits=3),
            shown(standard[model], digits=2),
            f"{standard[model]['median'] / found['median']:.1f}x",
            f"{found['launches']:.0f}",
        ]
        for (model, cuda_graph), found in ours.items()
    ]
    columns = ["model", "step", "ours", "standard loop", "ratio", "launches a step"]
    table(f"seconds per epoch on {name}", columns, rows)
    found = {f"ours, {_step(cuda_graph)}": values for cuda_graph, values in ours_s.items()}
    table(
        f"seconds to validation macro-F1 {TARGET} on {name}, report A's CNN and our recipe",
        ["loop", "seconds", "seeds that get there"],
        [_reached(loop, values) for loop, values in [*found.items(), ("standard loop", usual_s)]],
    )
    table(
        f"trials an hour of the default study on {name}, {SEARCH_S:.0f} s each",
        ["workers", "threads each", "finished", "trials an hour", "utilisation"],
        [
            [
                row["workers"],
                row["threads"],
                row["finished"],
                f"{row['trials_an_hour']:.0f}",
                "" if row["utilization"] is None else f"{row['utilization']:.0f} %",
            ]
            for row in shared
        ],
    )


def _reached(loop: str, seconds: Sequence[float | None]) -> list[str]:
    there = [value for value in seconds if value is not None]
    median = shown(spread(there), " s", 2) if there else ""
    return [loop, median, f"{len(there)} of {len(seconds)}"]


def _step(cuda_graph: bool) -> str:
    return "captured" if cuda_graph else "not captured"
