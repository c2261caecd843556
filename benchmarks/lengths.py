"""What a few epochs cannot choose: shifts and widths in a trial's epochs and in a final training's.

    python -m benchmarks lengths                  # one seed; continues where it stopped
    python -m benchmarks.lengths --seeds 3        # more

A search can only choose what shows within a trial. The CNN of `recipe`, in four widths, and an MLP are
trained for a trial's epochs and for the final evaluation's (widths of 32 and more for half of these), with
and without shifted images; each on one thread, as many at a time as there are cores. Values are of
validation, seconds of the processor.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from typing import Any

from benchmarks.common import RESULTS, in_own_process, in_parallel, save, shown, spread, table
from benchmarks.recipe import REFERENCE
from bloodsearch.search.sampling.space import Params, to_config
from bloodsearch.studies import Value, load_study_file

MLP: dict[str, Value] = {
    **{name: value for name, value in REFERENCE.items() if not name.startswith("cnn_")},
    "arch": "mlp",
    "mlp_depth": 3,
    "mlp_width": 512,
    "mlp_dropout": 0.1,
    "mlp_norm": True,
    "optimizer": "adamw",
    "lr": 2e-3,
}
# name: parameters, and how long the long training is, as a share of the final evaluation's epochs
CASES: dict[str, tuple[dict[str, Value], float]] = {
    "CNN, 16 wide, shift 2": (REFERENCE, 1),
    "CNN, 16 wide, shift 0": ({**REFERENCE, "shift": 0}, 1),
    "CNN, 24 wide, shift 2": ({**REFERENCE, "cnn_width": 24}, 1),
    "CNN, 32 wide, shift 2": ({**REFERENCE, "cnn_width": 32}, 0.5),
    "CNN, 48 wide, shift 2": ({**REFERENCE, "cnn_width": 48}, 0.5),
    "MLP, shift 2": (MLP, 1),
    "MLP, shift 0": ({**MLP, "shift": 0}, 1),
}


def lengths(name: str) -> tuple[int, int]:
    """Epochs of the short and of the long training of a case."""
    (params, share), training = CASES[name], load_study_file("bloodmnist").training
    family = str(params["arch"])
    return training.epochs_of(family), round(share * training.final_epochs_of(family))


def child(name: str, epochs: int, seed: int) -> None:
    print(json.dumps(train_once(CASES[name][0], epochs, seed)))


def train_once(params: Params, epochs: int, seed: int) -> dict[str, Any]:
    """Train once on one thread; return each epoch's validation macro-F1 and the processor's seconds."""
    import torch

    from bloodsearch.search.data.load import load_dataset
    from bloodsearch.search.training.device import to_device
    from bloodsearch.search.training.fit import fit

    torch.set_num_threads(1)
    data = to_device(load_dataset("bloodmnist"), torch.device("cpu"))
    config = to_config(params, epochs=epochs, patience=0)
    values: list[float] = []
    started = time.process_time()
    fit(config, data, seed=seed, on_epoch=lambda result: values.append(result.val_macro_f1))
    return {"values": values, "cpu_seconds": time.process_time() - started}


def key(name: str, epochs: int, seed: int) -> str:
    return f"{name}, {epochs} epochs, seed {seed}"


def run(n_seeds: int = 1) -> None:
    path = RESULTS / "lengths.json"
    known: dict[str, dict[str, Any]] = {}
    if path.exists():
        known = json.loads(path.read_text())["result"]
    cases = [(name, epochs) for name in CASES for epochs in lengths(name)]

    def train(task: tuple[str, int, int]) -> dict[str, Any]:
        found: dict[str, Any] = in_own_process("lengths", "--child", *map(str, task))
        return found

    def keep(task: tuple[str, int, int], found: dict[str, Any]) -> None:
        known[key(*task)] = found
        print(key(*task), f"{found['values'][-1]:.4f}", flush=True)
        save("lengths", known)

    tasks = [(*case, seed) for seed, case in itertools.product(range(n_seeds), cases)]
    in_parallel([task for task in tasks if key(*task) not in known], train, keep)
    rows = []
    for name, epochs in cases:
        runs = [known[key(name, epochs, seed)] for seed in range(n_seeds)]
        ends = [row["values"][-1] for row in runs]
        seconds = statistics.fmean(row["cpu_seconds"] for row in runs)
        values = shown(spread(ends), digits=4)
        rows.append([name, str(epochs), values, f"{seconds:.0f}"])
    columns = ["model", "epochs", "validation macro-F1", "CPU s"]
    table("a trial's epochs and a final training's, the same seeds", columns, rows)
    save("lengths", known)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--child", nargs=3)
    given = parser.parse_args()
    if given.child is None:
        run(given.seeds)
    else:
        child(given.child[0], int(given.child[1]), int(given.child[2]))
