"""Training with and without the compiled kernels: the same bits where that is promised, else the same scores.

    python -m benchmarks kernels

Each training runs in a process of its own on one thread. float32 curves must be equal to the bit, except on
AVX2 alone, where convolutions and BatchNorm add up in another order. There, and in bfloat16, where BatchNorm
and the weights' gradients are rounded elsewhere, validation macro-F1 is compared, seed by seed.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
from typing import Any

from benchmarks.common import in_own_process, save, shown, spread, table

SEEDS = 5
MODELS = ("A CNN", "wide CNN, quarter")


def trainings() -> list[tuple[str, str, int, int]]:
    """Return models, precisions, seeds and epochs: the processor's own precision with all seeds."""
    import torch

    from bloodsearch.search.training.device import choose_precision

    own = choose_precision(torch.device("cpu"))
    with_one_seed = [(name, "float32", 1, 2) for name in MODELS if own != "float32"]
    return with_one_seed + [(name, own, SEEDS, 5) for name in MODELS]


def child(name: str, precision: Any, seed: int, epochs: int) -> None:
    import torch

    from benchmarks.engine_cases import case
    from bloodsearch.models import kernels
    from bloodsearch.search.data.load import load_dataset
    from bloodsearch.search.training.device import to_device
    from bloodsearch.search.training.fit import fit

    torch.set_num_threads(1)
    data = to_device(load_dataset("bloodmnist"), torch.device("cpu"))
    history = fit(case(name, epochs=epochs), data, seed=seed, precision=precision).history
    curve = [(r.train_loss, r.val_loss, r.val_macro_f1) for r in history]
    seconds = sum(result.seconds for result in history)
    print(json.dumps({"build": kernels.build_name(), "curve": curve, "seconds": seconds}))


def measure(name: str, precision: str, seed: int, epochs: int) -> dict[str, Any]:
    """One seed's training without and with the kernels."""
    from bloodsearch.models.kernels import VARIABLE

    found = {}
    for kind, wanted in (("without", "off"), ("with", "")):
        os.environ[VARIABLE] = wanted
        found[kind] = in_own_process("kernels", name, precision, str(seed), str(epochs))
    return found


def run() -> None:
    rows, results = [], []
    for name, precision, seeds, epochs in trainings():
        found = [measure(name, precision, seed, epochs) for seed in range(seeds)]
        results.append({"case": name, "precision": precision, "trainings": found})
        scores = {kind: [f[kind]["curve"][-1][2] for f in found] for kind in ("without", "with")}
        gains = [b - a for a, b in zip(scores["without"], scores["with"], strict=True)]
        times = [f["without"]["seconds"] / f["with"]["seconds"] for f in found]
        equal = sum(f["without"]["curve"] == f["with"]["curve"] for f in found)
        error = statistics.stdev(gains) / math.sqrt(seeds) if seeds > 1 else None
        rows.append(
            [
                name,
                precision,
                f"{equal} of {seeds}",
                shown(spread(scores["without"]), digits=4),
                shown(spread(scores["with"]), digits=4),
                f"{statistics.fmean(gains):+.4f}" + (f" (se {error:.4f})" if error else ""),
                shown(spread(times), "x", 2),
            ]
        )
    columns = [
        *("model", "precision", "equal curves", "macro-F1 without", "macro-F1 with"),
        *("mean difference", "time without / with"),
    ]
    table("training without and with the compiled kernels", columns, rows)
    save("kernels", results, by_processor=True)


if __name__ == "__main__":
    child(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
