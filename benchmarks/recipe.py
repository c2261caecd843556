"""What a change of the training recipe does to validation macro-F1, over seeds.

    python -m benchmarks.recipe --seeds 5          # continues where it stopped

Each variant differs from the reference in the parameters named and trains for the same few epochs,
with the same seeds. Every training is kept as soon as it is done. The test split is not opened.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
from typing import Any

from benchmarks.common import RESULTS, save, shown, spread, table
from benchmarks.quality import RECIPE
from search.slots import Slot
from studies import Value

EPOCHS = 8
VARIANTS: dict[str, dict[str, Value]] = {
    "reference": {},
    "no augmentation": {"augment": "none", "shift": 0},
    "flips": {"augment": "flips"},
    "no shift": {"shift": 0},
    "no label smoothing": {"label_smoothing": 0.0},
    "batch 64": {"batch_size": 64},
    "batch 256": {"batch_size": 256},
    "batch 512, lr x2": {"batch_size": 512, "lr": 1e-2},
    "mean head": {"cnn_head": "mean"},
    "no residual": {"cnn_residual": False},
    "cosine": {"schedule": "cosine"},
    "nesterov sgd": {
        "optimizer": "sgd",
        "sgd_lr": 0.1,
        "sgd_momentum": 0.9,
        "sgd_nesterov": True,
        "weight_decay": 5e-4,
    },
}


def child(name: str, seed: int) -> None:
    import torch

    from search.space import to_config
    from search.training.data import load_dataset
    from search.training.device import to_device
    from search.training.fit import fit

    torch.set_num_threads(1)
    data = to_device(load_dataset("bloodmnist"), torch.device("cpu"))
    config = to_config({**RECIPE, **VARIANTS[name]}, epochs=EPOCHS, patience=0)
    result = fit(config, data, seed=seed)
    values = [epoch.val_macro_f1 for epoch in result.history]
    print(json.dumps({"values": values, "seconds": result.seconds}))


def run(n_seeds: int = 5) -> None:
    path = RESULTS / "recipe.json"
    known: dict[str, dict[str, Any]] = {}
    if path.exists():
        known = json.loads(path.read_text())["result"]["trainings"]
    environment = {**os.environ, **Slot("cpu", "cpu", 1).environment()}
    # seed by seed, so that a table of few seeds is complete early
    for seed, name in itertools.product(range(n_seeds), VARIANTS):
        if str(seed) in known.setdefault(name, {}):
            continue
        command = [sys.executable, "-m", "benchmarks.recipe", "--child", name, str(seed)]
        done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True)
        known[name][str(seed)] = json.loads(done.stdout)
        save("recipe", {"reference": RECIPE, "epochs": EPOCHS, "trainings": known})
        print(seed, name, f"{known[name][str(seed)]['values'][-1]:.4f}", flush=True)
    rows = []
    for name, runs in known.items():
        final = spread([row["values"][-1] for row in runs.values()])
        # the same seeds on both sides
        gains = spread(
            [row["values"][-1] - known["reference"][s]["values"][-1] for s, row in runs.items()]
        )
        seconds = spread([row["seconds"] for row in runs.values()])
        rows.append([name, shown(final, digits=4), f"{gains['median']:+.4f}", shown(seconds)])
    columns = ["variant", "validation macro-F1", "to reference", "seconds"]
    table(f"after {EPOCHS} epochs, one thread", columns, rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--child", nargs=2)
    given = parser.parse_args()
    run(given.seeds) if given.child is None else child(given.child[0], int(given.child[1]))
