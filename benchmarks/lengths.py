"""What shifting images is worth in a trial's few epochs and in the final training's many, on validation.

    python -m benchmarks lengths                  # continues where it stopped

A search can only choose what shows within a trial. One CNN and one MLP of the default study are trained for
the epochs of a trial and for those of the final evaluation, with images shifted by up to 0 .. 3 pixels, on
one thread each, as many at a time as there are cores. The test split is not opened.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from benchmarks.common import RESULTS, in_own_process, save, shown, spread, table
from benchmarks.recipe import REFERENCE
from studies import Value, load_study_file

SHIFTS = (0, 1, 2, 3)
MODELS: dict[str, dict[str, Value]] = {
    "cnn": REFERENCE,
    "mlp": {
        "arch": "mlp",
        "mlp_depth": 3,
        "mlp_width": 512,
        "mlp_dropout": 0.1,
        "mlp_norm": True,
        "optimizer": "adamw",
        "lr": 2e-3,
        "weight_decay": 1e-3,
        "loss": "cross_entropy",
        "label_smoothing": 0.1,
        "schedule": "one_cycle",
        "augment": "dihedral",
        "batch_size": 128,
    },
}


def child(family: str, epochs: int, shift: int, seed: int) -> None:
    import torch

    from search.space import to_config
    from search.training.data import load_dataset
    from search.training.device import to_device
    from search.training.fit import fit

    torch.set_num_threads(1)
    data = to_device(load_dataset("bloodmnist"), torch.device("cpu"))
    config = to_config({**MODELS[family], "shift": shift}, epochs=epochs, patience=0)
    values: list[float] = []
    fit(config, data, seed=seed, on_epoch=lambda result: values.append(result.val_macro_f1))
    print(json.dumps(values))


def run(n_seeds: int = 2) -> None:
    path, training = RESULTS / "lengths.json", load_study_file("bloodmnist").training
    known: dict[str, list[float]] = {}
    if path.exists():
        known = json.loads(path.read_text())["result"]
    lengths = [
        (family, epochs)
        for family in MODELS
        for epochs in (training.epochs_of(family), training.final_epochs_of(family))
    ]
    tasks = [
        (family, epochs, shift, seed)
        for seed, (family, epochs), shift in itertools.product(range(n_seeds), lengths, SHIFTS)
    ]

    one_writes = threading.Lock()

    def one(task: tuple[str, int, int, int]) -> None:
        key = " ".join(map(str, task))
        if key in known:
            return
        found = in_own_process("lengths", "--child", *map(str, task))
        with one_writes:
            known[key] = found
            print(key, f"{found[-1]:.4f}", flush=True)
            save("lengths", known)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, tasks))
    rows = []
    for (family, epochs), shift in itertools.product(lengths, SHIFTS):
        ends = [known[f"{family} {epochs} {shift} {seed}"][-1] for seed in range(n_seeds)]
        mean = f"{statistics.fmean(ends):.4f}"
        rows.append([family, str(epochs), str(shift), mean, shown(spread(ends), digits=4)])
    columns = ["family", "epochs", "shift, pixels", "validation macro-F1, mean", "median"]
    table(f"images shifted by up to so much, the same {n_seeds} seeds", columns, rows)
    save("lengths", known)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--child", nargs=4)
    given: Any = parser.parse_args()
    if given.child is None:
        run(given.seeds)
    else:
        child(given.child[0], *map(int, given.child[1:]))
