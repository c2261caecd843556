"""Muon with Newton-Schulz in bfloat16 against float32, epoch by epoch with the same seeds, on validation.

    python -m benchmarks newton_schulz           # 5 seeds; continues where it stopped

A residual CNN, 32 filters wide, trains in bfloat16 on one thread. Only the orthogonalisation of its large
filter banks differs. Seconds are of the processor. The test split is not opened.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from typing import Any

from benchmarks.common import RESULTS, in_own_process, save, shown, spread, table
from benchmarks.recipe import REFERENCE

EPOCHS = 8
WIDTH = 32
VARIANTS = ("float32", "bfloat16")


def child(variant: str, seed: int) -> None:
    import torch

    from bloodsearch.search.data.load import load_dataset
    from bloodsearch.search.sampling.space import to_config
    from bloodsearch.search.training.allocator import training_memory
    from bloodsearch.search.training.device import to_device
    from bloodsearch.search.training.loop import Training
    from bloodsearch.search.training.muon import Muon

    torch.set_num_threads(1)
    data = to_device(load_dataset("bloodmnist"), torch.device("cpu"))
    config = to_config({**REFERENCE, "cnn_width": WIDTH}, epochs=EPOCHS, patience=0)
    started = time.process_time()
    with training_memory(data.device):
        training = Training(config, data, seed, None, "bfloat16")
        assert isinstance(training.optimizer, Muon)
        training.optimizer.half = variant == "bfloat16"
        result = training.train(lambda result: None, lambda: False, None)
    values = [epoch.val_macro_f1 for epoch in result.history]
    print(json.dumps({"values": values, "cpu_seconds": time.process_time() - started}))


def run(n_seeds: int = 5) -> None:
    path = RESULTS / "newton_schulz.json"
    stored: dict[str, dict[str, Any]] = {variant: {} for variant in VARIANTS}
    if path.exists():
        stored = json.loads(path.read_text())["result"]["trainings"]
    for seed, variant in itertools.product(range(n_seeds), VARIANTS):
        if str(seed) not in stored[variant]:
            stored[variant][str(seed)] = in_own_process(
                "newton_schulz", "--child", variant, str(seed)
            )
            save("newton_schulz", {"width": WIDTH, "epochs": EPOCHS, "trainings": stored})
            print(seed, variant, f"{stored[variant][str(seed)]['values'][-1]:.4f}", flush=True)
    columns = ["after epoch", *(f"Newton-Schulz in {v}" for v in VARIANTS), "gain", "its error"]
    rows = [_row(epoch, stored) for epoch in (1, 2, 4, 6, EPOCHS)]
    table(f"validation macro-F1, width {WIDTH}, the same {n_seeds} seeds", columns, rows)
    save("newton_schulz", {"width": WIDTH, "epochs": EPOCHS, "trainings": stored})


def _row(epoch: int, stored: dict[str, dict[str, Any]]) -> list[str]:
    """Return the scores of both variants after `epoch`, and the mean gain of bfloat16 over the seeds."""
    plain, half = (
        {seed: row["values"][epoch - 1] for seed, row in stored[variant].items()}
        for variant in VARIANTS
    )
    gains = [half[seed] - plain[seed] for seed in plain]
    error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else float("nan")
    scores = [shown(spread(list(values.values())), digits=4) for values in (plain, half)]
    return [str(epoch), *scores, f"{statistics.fmean(gains):+.4f}", f"{error:.4f}"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--child", nargs=2)
    given = parser.parse_args()
    run(given.seeds) if given.child is None else child(given.child[0], int(given.child[1]))
