"""Peak memory of a worker on images of 224 x 224 pixels: load, augment, train, validate.

    python -m benchmarks large_images

The set is made up: noise of N_TRAIN and N_VAL images with three channels in an npz file. The model is the
widest and deepest CNN of the generic study for this size. Each stage is followed by the largest resident
memory so far. A second process makes five folds of 3,000 images, as a search on few validation images does,
and trains on one of them.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.common import in_own_process, save, table

SIDE = 224
SPLITS = {
    "whole": {"train": 3000, "val": 1000, "test": 8},
    "folds": {"train": 2700, "val": 300, "test": 8},
}
N_FOLDS = 5
STAGES = {
    "start": "imports, no data",
    "load": "the file is loaded, checked and hashed",
    "folds": "five folds",
    "augment": "the first block of augmented images",
    "train": "one epoch",
    "validate": "validation",
}


def write(path: Path, kind: str) -> None:
    """Write the made-up set without compression, as `data import` does."""
    rng = np.random.default_rng(0)
    arrays = {}
    for split, n in SPLITS[kind].items():
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(n) % 4).astype(np.uint8)
    np.savez(path, **arrays)  # type: ignore[arg-type]


def child(kind: str, path: Path) -> None:
    """Print the largest resident memory in MB after each stage, and the seconds of the epoch."""
    import torch

    from bloodsearch.search.data.load import load_dataset
    from bloodsearch.search.sampling.space import Params, to_config
    from bloodsearch.search.training.device import choose_precision, to_device
    from bloodsearch.search.training.folds import make_folds
    from bloodsearch.search.training.loop import Training
    from bloodsearch.studies import generic_study

    torch.set_num_threads(1)
    found = {"start": _peak_mb()}
    data = to_device(load_dataset(str(path)), torch.device("cpu"))
    found["load"] = _peak_mb()
    if kind == "folds":
        data = make_folds(data, N_FOLDS, seed=0)[0]
        found["folds"] = _peak_mb()
    file = generic_study("large", "large", n_train=SPLITS[kind]["train"], size=SIDE)
    params: Params = {"arch": "cnn", "optimizer": "muon", "lr": 1e-3, "augment": "dihedral"}
    params |= {name: int(file.largest(name)) for name in
               ("shift", "batch_size", "cnn_stem", "cnn_blocks", "cnn_width", "cnn_convs")}  # fmt: skip
    params |= {"cnn_norm": True, "cnn_residual": True, "cnn_head": "max"}
    config = to_config(params, epochs=1, patience=0, shape=data.fingerprint.info.shape)
    training = Training(config, data, 0, None, choose_precision(data.device))
    next(training.batches(1))
    found["augment"] = _peak_mb()
    started = time.perf_counter()
    training._train_epoch(1, lambda: False)
    seconds = time.perf_counter() - started
    found["train"] = _peak_mb()
    training._validate()
    found["validate"] = _peak_mb()
    print(json.dumps({"peak_mb": found, "epoch_s": seconds}))


def _peak_mb() -> float:
    # not getrusage: its maximum includes the parent, which has written the set
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1.024e-3


def run() -> None:
    results = {}
    for kind, splits in SPLITS.items():
        with tempfile.TemporaryDirectory(prefix="bs-large-") as folder:
            path = Path(folder) / "large.npz"
            write(path, kind)
            results[kind] = in_own_process("large_images", kind, str(path))
        n = splits["train"] + splits["val"]
        results[kind] |= {"n_images": n, "bytes_of_images_mb": n * SIDE * SIDE * 3 / 1e6}
        found = results[kind]
        size = f"{SIDE} x {SIDE} x 3, {found['bytes_of_images_mb']:.0f} MB as bytes"
        table(
            f"{n:,} images of {size}, one process",
            ["after", "peak memory, MB"],
            [[STAGES[stage], f"{mb:.0f}"] for stage, mb in found["peak_mb"].items()],
        )
    save("large_images", results)


if __name__ == "__main__":
    child(sys.argv[1], Path(sys.argv[2]))
