"""Time to the standard loop's own best validation macro-F1, seed by seed.

    python -m benchmarks.quality --seeds 5        # continues where it stopped

For each seed the standard loop trains report A's CNN until its patience is over; then ours trains
the recipe below, and the time of its first epoch that is at least as good counts. One thread. The
test split is not opened.
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
from search.slots import Slot

STANDARD_EPOCHS, STANDARD_PATIENCE = 40, 5
OUR_EPOCHS = 6
RECIPE = {
    "arch": "cnn",
    "cnn_blocks": 3,
    "cnn_width": 32,
    "cnn_growth": 2.0,
    "cnn_convs": 2,
    "cnn_residual": True,
    "cnn_norm": True,
    "cnn_head": "max",
    "optimizer": "adamw",
    "lr": 5e-3,
    "weight_decay": 1e-3,
    "loss": "cross_entropy",
    "label_smoothing": 0.1,
    "schedule": "one_cycle",
    "augment": "dihedral",
    "shift": 2,
    "batch_size": 128,
}


def standard_curve(data: Any, seed: int) -> list[tuple[float, float]]:
    """(seconds so far, validation macro-F1) after each epoch, until patience is over."""
    from benchmarks.engine_cases import case
    from benchmarks.standard_loop import StandardLoop

    loop = StandardLoop(case("A CNN", epochs=STANDARD_EPOCHS), data, seed=seed)
    curve: list[tuple[float, float]] = []
    seconds, best = 0.0, 0
    for epoch in range(STANDARD_EPOCHS):
        found = loop.epoch()
        seconds += found.seconds
        curve.append((seconds, found.val_macro_f1))
        if found.val_macro_f1 > curve[best][1]:
            best = epoch
        if epoch - best >= STANDARD_PATIENCE:
            break
    return curve


def our_curve(data: Any, seed: int) -> list[tuple[float, float]]:
    import torch

    from search.space import to_config
    from search.training.device import to_device
    from search.training.fit import fit

    config = to_config(RECIPE, epochs=OUR_EPOCHS, patience=0)
    history = fit(config, to_device(data, torch.device("cpu")), seed=seed).history
    seconds = itertools.accumulate(epoch.seconds for epoch in history)
    return [(s, epoch.val_macro_f1) for s, epoch in zip(seconds, history, strict=True)]


def child(seed: int) -> None:
    import torch

    from search.training.data import load_dataset

    torch.set_num_threads(1)
    data = load_dataset("bloodmnist")
    print(json.dumps({"standard": standard_curve(data, seed), "ours": our_curve(data, seed)}))


def compare(row: dict[str, Any]) -> dict[str, Any]:
    """One seed: the standard loop's best and when, and when ours was as good (None: never)."""
    best = max(value for _, value in row["standard"])
    theirs = next(seconds for seconds, value in row["standard"] if value == best)
    ours = next((seconds for seconds, value in row["ours"] if value >= best), None)
    return {
        "target": best,
        "standard_s": theirs,
        "ours_s": ours,
        "ratio": theirs / ours if ours else None,
    }


def run(n_seeds: int = 5) -> None:
    path = RESULTS / "quality.json"
    known = json.loads(path.read_text())["result"]["curves"] if path.exists() else {}
    environment = {**os.environ, **Slot("cpu", "cpu", 1).environment()}
    for seed in range(n_seeds):
        if str(seed) in known:
            continue
        command = [sys.executable, "-m", "benchmarks.quality", "--child", str(seed)]
        done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True)
        known[str(seed)] = json.loads(done.stdout)
        save("quality", {"recipe": RECIPE, "our_epochs": OUR_EPOCHS, "curves": known})
        print(f"seed {seed}: {compare(known[str(seed)])}", flush=True)
    found = [compare(row) for row in known.values()]
    rows = [
        [
            seed,
            f"{row['target']:.4f}",
            f"{row['standard_s']:.1f}",
            f"{row['ours_s']:.1f}" if row["ours_s"] else "not reached",
            f"{row['ratio']:.1f}x" if row["ratio"] else "",
        ]
        for seed, row in zip(known, found, strict=True)
    ]
    table(
        "seconds to the standard loop's best validation macro-F1, one thread",
        ["seed", "macro-F1", "standard loop", "ours", "ratio"],
        rows,
    )
    reached = [row["ratio"] for row in found if row["ratio"]]
    if reached:
        print(f"ratio {shown(spread(reached))}; reached with {len(reached)} of {len(found)} seeds")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--child", type=int)
    given = parser.parse_args()
    run(given.seeds) if given.child is None else child(given.child)
