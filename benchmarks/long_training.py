"""What a training of final length wants: one change at a time to one recipe, three seeds, on validation.

    python -m benchmarks.long_training --minutes 60    # trains for so long, and continues where it stopped
    python -m benchmarks.long_training --minutes 0     # only prints what was trained

Differences from the recipe are paired by seed, with Student's 95 % interval. Every change is one comparison
of the table: with so many, one in twenty leaves its interval by chance, so an interval is also given that is
as wide as Bonferroni's correction asks. The test split stays closed.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Sequence
from typing import Any

from scipy.stats import t

from benchmarks.common import RESULTS, in_own_process, save, table
from bloodsearch.search.sampling.space import Params

EPOCHS = {"cnn": 60, "mlp": 200}
SEEDS = 3
RECIPES: dict[str, Params] = {
    "cnn": {
        "arch": "cnn", "optimizer": "muon", "lr": 0.01, "weight_decay": 0.05, "batch_size": 128,
        "label_smoothing": 0.1, "loss": "cross_entropy", "schedule": "one_cycle",
        "augment": "dihedral", "shift": 2, "ema": 0.0, "cnn_blocks": 3, "cnn_width": 32,
        "cnn_convs": 2, "cnn_residual": True, "cnn_norm": True, "cnn_head": "max",
        "cnn_dropout": 0.2,
    },
    "mlp": {
        "arch": "mlp", "optimizer": "adamw", "lr": 2e-3, "weight_decay": 0.05, "batch_size": 128,
        "label_smoothing": 0.1, "loss": "cross_entropy", "schedule": "one_cycle",
        "augment": "dihedral", "shift": 2, "ema": 0.0, "mlp_depth": 2, "mlp_width": 1024,
        "mlp_norm": True, "mlp_dropout": 0.2,
    },
}  # fmt: skip
CHANGES: dict[str, dict[str, Params]] = {
    "cnn": {
        "the recipe": {},
        "EMA 0.998": {"ema": 0.998},
        "EMA 0.9995": {"ema": 0.9995},
        "weight decay 0.005": {"weight_decay": 0.005},
        "weight decay 0.3": {"weight_decay": 0.3},
        "no label smoothing": {"label_smoothing": 0.0},
        "label smoothing 0.2": {"label_smoothing": 0.2},
        "dropout 0": {"cnn_dropout": 0.0},
        "dropout 0.5": {"cnn_dropout": 0.5},
        "batch 64": {"batch_size": 64},
        "batch 256": {"batch_size": 256},
        "mean head": {"cnn_head": "mean"},
        "cosine schedule": {"schedule": "cosine"},
        "weighted loss": {"loss": "weighted_cross_entropy"},
        "one convolution a block": {"cnn_convs": 1},
        "48 filters": {"cnn_width": 48},
    },
    "mlp": {
        "the recipe": {},
        "EMA 0.999": {"ema": 0.999},
        "weight decay 0.2": {"weight_decay": 0.2},
        "no label smoothing": {"label_smoothing": 0.0},
        "dropout 0.4": {"mlp_dropout": 0.4},
        "width 2048": {"mlp_width": 2048},
        "depth 3": {"mlp_depth": 3},
        "batch 256": {"batch_size": 256},
        "no BatchNorm": {"mlp_norm": False},
    },
}
MODULE = "long_training"


def key(family: str, change: str, seed: int) -> str:
    return f"{family}: {change}, seed {seed}"


def child(family: str, change: str, seed: int) -> None:
    """Train once and print the end as JSON: the best epoch, and the mean of the last five."""
    import torch

    from bloodsearch.search.data.load import load_dataset
    from bloodsearch.search.sampling.space import to_config
    from bloodsearch.search.training.device import to_device
    from bloodsearch.search.training.endings import Diverged
    from bloodsearch.search.training.fit import fit

    torch.set_num_threads(1)
    data = to_device(load_dataset("bloodmnist"), torch.device("cpu"))
    point = RECIPES[family] | CHANGES[family][change]
    config = to_config(point, epochs=EPOCHS[family], patience=0)
    values: list[float] = []
    started = time.process_time()
    try:
        fit(config, data, seed=seed, on_epoch=lambda result: values.append(result.val_macro_f1))
    except Diverged:
        values = [0.0]
    seconds = round(time.process_time() - started, 1)
    print(json.dumps({"best": max(values), "last": values[-5:], "cpu_seconds": seconds}))


def half_width(differences: Sequence[float], confidence: float) -> float:
    """Return half of Student's interval of the mean difference."""
    n = len(differences)
    quantile = float(t.ppf(0.5 + confidence / 2, n - 1))
    return quantile * statistics.stdev(differences) / math.sqrt(n)


def show(runs: dict[str, Any]) -> None:
    """Print each change against the recipe: the mean of the last five epochs, paired by seed."""
    rows = []
    for family, changes in CHANGES.items():
        corrected = 1 - 0.05 / max(1, len(changes) - 1)
        for change in changes:
            of = {s: runs.get(key(family, change, s)) for s in range(SEEDS)}
            done = {s: statistics.fmean(run["last"]) for s, run in of.items() if run}
            base = {s: runs.get(key(family, "the recipe", s)) for s in done}
            if not done:
                continue
            differences = [
                value - statistics.fmean(run["last"])
                for s, value in done.items()
                if (run := base[s])
            ]
            cells = ["", "", ""]
            if change != "the recipe" and len(differences) > 1:
                cells = [
                    f"{statistics.fmean(differences):+.4f}",
                    *(f"+-{half_width(differences, c):.4f}" for c in (0.95, corrected)),
                ]
            seconds = statistics.fmean(run["cpu_seconds"] for run in of.values() if run)
            mean = f"{statistics.fmean(done.values()):.4f}"
            rows.append([family, change, len(done), mean, *cells, f"{seconds:.0f}"])
    columns = ["family", "change", "n", "validation macro-F1", "difference", "95 %"]
    columns += ["95 % of all comparisons", "CPU s"]
    table("one change at a time at final length (mean of the last five epochs)", columns, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--minutes", type=float, default=1e6, help="start no training after so long"
    )
    parser.add_argument("--family", choices=["cnn", "mlp", "both"], default="both")
    parser.add_argument("--child", nargs=3)
    given = parser.parse_args(arguments)
    if given.child is not None:
        return child(given.child[0], given.child[1], int(given.child[2]))
    path = RESULTS / f"{MODULE}.json"
    runs: dict[str, Any] = {}
    if path.exists():
        runs = json.loads(path.read_text())["result"]
    families = list(CHANGES) if given.family == "both" else [given.family]
    until = time.monotonic() + 60 * given.minutes
    for seed in range(SEEDS):
        for family in families:
            for change in CHANGES[family]:
                name = key(family, change, seed)
                if name in runs or time.monotonic() >= until:
                    continue
                runs[name] = in_own_process(MODULE, "--child", family, change, str(seed))
                print(name, f"{runs[name]['best']:.4f}", flush=True)
                save(MODULE, runs)
    show(runs)


def run() -> None:
    main([])


if __name__ == "__main__":
    main()
