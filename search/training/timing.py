"""Seconds of an epoch, measured on a few batches of each configuration.

    python -m bloodsearch.search.training.timing < request.json

`search.api.timing` starts this program once per worker, all at the same time, because trainings beside each
other share caches and memory.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from pathlib import Path

import torch

from ..data.load import load_dataset
from .allocator import training_memory
from .augment import block_size
from .config import TrialConfig
from .device import DeviceData, choose_precision, parse_device, to_device
from .folds import make_folds
from .loop import Training
from .predict import EVALUATION_BATCH, predict_logits

N_WARM, N_TIMED = 1, 3
"""Batches before the clock starts, and batches that are timed, in each round."""
N_ROUNDS = 3
"""How many times all configurations are timed; the median counts. One of them takes half a second, and what
disturbed the machine for a few seconds has made a plan of 20 minutes impossible. The least of two rounds was
too little: final trainings took 5 to 17 % longer."""


def epoch_seconds(config: TrialConfig, data: DeviceData) -> float:
    """Return the seconds that an epoch of this training takes, validation included, to within some percent.

    Times one block of augmented images, a few training steps and one batch of the validation split.
    """
    training = Training(config, data, 0, None, choose_precision(data.device))
    n_blocks = max(1.0, training.n_images / block_size(data.train_images, config.batch_size))
    started = time.perf_counter()
    batches = training.batches(1)
    batch = next(batches)
    augmentation = (time.perf_counter() - started) * n_blocks
    training.model.train()
    seconds = []
    for _ in range(N_WARM + N_TIMED):
        started = time.perf_counter()
        float(training.step(batch.images, batch.labels, batch.weights))  # waits for a GPU
        if training.average is not None:
            training.average.update()
        seconds.append(time.perf_counter() - started)
    shown = data.val_images[:EVALUATION_BATCH]
    predict_logits(training.validated, shown, training.val_dtype)
    started = time.perf_counter()
    float(predict_logits(training.validated, shown, training.val_dtype).sum())
    validation = (time.perf_counter() - started) * len(data.val_images) / len(shown)
    step = statistics.median(seconds[N_WARM:])
    return augmentation + training.n_batches * step + validation


def main() -> None:
    """Read a request from standard input and print the seconds of each configuration and the memory used."""
    request = json.load(sys.stdin)
    torch.set_num_threads(request["threads"])
    root = request["data_root"]
    dataset = load_dataset(request["dataset"], None if root is None else Path(root))
    data = to_device(dataset, parse_device(request["device"]))
    n_folds = request["n_folds"]
    parts = make_folds(data, n_folds, seed=0) if n_folds else [data]
    configs = [TrialConfig.model_validate(config) for config in request["configs"]]
    # folds are of one size, so each takes as long as the first
    with training_memory(data.device):  # as in `fit`
        rounds = [[epoch_seconds(config, parts[0]) for config in configs] for _ in range(N_ROUNDS)]
    seconds = [len(parts) * statistics.median(times) for times in zip(*rounds, strict=True)]
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mb = kib / 2**20 if sys.platform == "darwin" else kib / 2**10  # macOS counts bytes
    gpu_mb = torch.cuda.max_memory_allocated() / 2**20 if data.device.type == "cuda" else 0.0
    print(json.dumps({"seconds": seconds, "mb": mb, "gpu_mb": gpu_mb}))


if __name__ == "__main__":
    main()
