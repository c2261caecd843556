"""What each part of a training recipe is worth: variants of one recipe with the same seeds, on validation.

    python -m benchmarks recipe                  # 5 seeds; continues where it stopped

A small residual CNN is trained for a few epochs on one thread. Seconds are of the processor, so that a
busy machine does not count. The test split is not opened.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from typing import Any

from benchmarks.common import RESULTS, in_own_process, save, shown, spread, table
from bloodsearch.studies import Value

EPOCHS = 4
REFERENCE: dict[str, Value] = {
    "arch": "cnn",
    "cnn_blocks": 3,
    "cnn_width": 16,
    "cnn_growth": 2.0,
    "cnn_convs": 2,
    "cnn_residual": True,
    "cnn_norm": True,
    "cnn_head": "max",
    "optimizer": "muon",
    "lr": 5e-3,
    "weight_decay": 1e-3,
    "loss": "cross_entropy",
    "label_smoothing": 0.1,
    "schedule": "one_cycle",
    "augment": "dihedral",
    "shift": 2,
    "batch_size": 128,
}
SGD: dict[str, Value] = {
    "optimizer": "sgd",
    "sgd_lr": 0.2,
    "sgd_momentum": 0.9,
    "sgd_nesterov": True,
    "weight_decay": 5e-4,
}
# a variant changes parameters, or uses tricks (a key of benchmarks.tricks.Tricks), or both
VARIANTS: dict[str, tuple[dict[str, Value], dict[str, Any]]] = {
    "reference": ({}, {}),
    "AdamW instead of Muon": ({"optimizer": "adamw"}, {}),
    "AdamW, twice the epochs": ({"optimizer": "adamw", "epochs": 2 * EPOCHS}, {}),
    "Nesterov SGD instead of Muon": (SGD, {}),
    "Nesterov SGD, BatchNorm biases x 16": (SGD, {"bias_lr": 16.0}),
    "BatchNorm biases x 16": ({}, {"bias_lr": 16.0}),
    "whitening first layer": ({}, {"whiten": True}),
    "identity initialisation": ({}, {"identity": True}),
    "orientations in turn": ({}, {"in_turn": True}),
    "averaged weights (0.98 a step)": ({}, {"ema": 0.98}),
    "BatchNorm momentum 0.4": ({}, {"momentum_bn": 0.4}),
    "sizes 20, 24, 28, 28": ({}, {"sizes": (20, 24, 28, 28)}),
    "batch 256": ({"batch_size": 256}, {}),
    "batch 512, lr x 2": ({"batch_size": 512, "lr": 1e-2}, {}),
    "no augmentation": ({"augment": "none", "shift": 0}, {}),
    "flips": ({"augment": "flips"}, {}),
    "5 x 5 filters": ({"cnn_kernel": 5}, {}),
}


def child(name: str, seed: int) -> None:
    import torch

    from benchmarks.tricks import Tricks, TrickyTraining
    from bloodsearch.search.data.load import load_dataset
    from bloodsearch.search.sampling.space import to_config
    from bloodsearch.search.training.allocator import training_memory
    from bloodsearch.search.training.device import choose_precision, to_device

    torch.set_num_threads(1)
    data = to_device(load_dataset("bloodmnist"), torch.device("cpu"))
    changes, tricks = VARIANTS[name]
    config = to_config({**REFERENCE, **changes}, epochs=EPOCHS, patience=0)
    precision = choose_precision(data.device)
    started = time.process_time()
    with training_memory(data.device):
        training = TrickyTraining(config, data, seed, precision, Tricks(**tricks))
        result = training.train(lambda result: None, lambda: False, None)
    values = [epoch.val_macro_f1 for epoch in result.history]
    print(json.dumps({"values": values, "cpu_seconds": time.process_time() - started}))


def run(n_seeds: int = 5) -> None:
    path = RESULTS / "recipe.json"
    known: dict[str, dict[str, Any]] = {}
    if path.exists():
        known = json.loads(path.read_text())["result"]["trainings"]
    # seed by seed, so that a table of few seeds is complete early
    for seed, name in itertools.product(range(n_seeds), VARIANTS):
        if str(seed) in known.setdefault(name, {}):
            continue
        known[name][str(seed)] = in_own_process("recipe", "--child", name, str(seed))
        save("recipe", {"reference": REFERENCE, "epochs": EPOCHS, "trainings": known})
        print(seed, name, f"{known[name][str(seed)]['values'][-1]:.4f}", flush=True)
    known = {name: known[name] for name in VARIANTS}
    columns = ["variant", "validation macro-F1", "to reference", "standard error", "CPU s"]
    rows = [_row(name, runs, known["reference"]) for name, runs in known.items()]
    table(f"the same {n_seeds} seeds, {EPOCHS} epochs, one thread", columns, rows)
    save("recipe", {"reference": REFERENCE, "epochs": EPOCHS, "trainings": known})


def _row(name: str, runs: dict[str, Any], reference: dict[str, Any]) -> list[str]:
    final = spread([row["values"][-1] for row in runs.values()])
    seconds = spread([row["cpu_seconds"] for row in runs.values()])["median"]
    row = [name, shown(final, digits=4)]
    if runs is reference:
        return [*row, "", "", f"{seconds:.1f}"]
    gains = [row["values"][-1] - reference[seed]["values"][-1] for seed, row in runs.items()]
    error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
    return [*row, f"{statistics.fmean(gains):+.4f}", f"{error:.4f}", f"{seconds:.1f}"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--child", nargs=2)
    given = parser.parse_args()
    run(given.seeds) if given.child is None else child(given.child[0], int(given.child[1]))
