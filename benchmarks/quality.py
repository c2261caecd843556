"""Time to the standard loop's own best validation macro-F1, seed by seed.

    python -m benchmarks quality        # 5 seeds; continues where it stopped

For each seed the standard loop trains one of report A's models until its patience is over; then ours
trains a recipe of the same family, and the time of its first epoch that is at least as good counts.
Seconds are of the processor, so that other programs do not count. A training has one thread, and there are as
many at once as cores. The test split is not opened.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from benchmarks.common import in_own_process, in_parallel, result_path, save, shown, spread, table
from benchmarks.recipe import REFERENCE
from bloodsearch.studies import Value

STANDARD_EPOCHS, STANDARD_PATIENCE = 40, 5
FIRST_SEED = 11  # the recipes were chosen on validation with seeds 0 to 2 and 10
RECIPES: dict[str, dict[str, Value]] = {
    "A CNN": {**REFERENCE, "epochs": 4},
    "A MLP": {
        "arch": "mlp",
        "mlp_depth": 3,
        "mlp_width": 192,
        "mlp_norm": True,
        "optimizer": "adamw",
        "lr": 5e-3,
        "weight_decay": 1e-3,
        "loss": "cross_entropy",
        "label_smoothing": 0.1,
        "schedule": "one_cycle",
        "augment": "flips",
        "batch_size": 128,
        "epochs": 4,
    },
}
Curve = list[tuple[float, float]]
"""(processor seconds so far, validation macro-F1) after each epoch."""


def standard_curve(name: str, data: Any, seed: int) -> Curve:
    """Until patience is over."""
    from benchmarks.engine_cases import case
    from benchmarks.standard_loop import StandardLoop

    loop = StandardLoop(case(name, epochs=STANDARD_EPOCHS), data, seed=seed)
    curve: Curve = []
    started, best = time.process_time(), 0
    for epoch in range(STANDARD_EPOCHS):
        value = loop.epoch().val_macro_f1
        curve.append((time.process_time() - started, value))
        if value > curve[best][1]:
            best = epoch
        if epoch - best >= STANDARD_PATIENCE:
            break
    return curve


def our_curve(name: str, data: Any, seed: int) -> Curve:
    import torch

    from bloodsearch.search.sampling.space import to_config
    from bloodsearch.search.training.device import to_device
    from bloodsearch.search.training.fit import EpochResult, fit

    on_device = to_device(data, torch.device("cpu"))
    curve: Curve = []
    started = time.process_time()

    def on_epoch(result: EpochResult) -> None:
        curve.append((time.process_time() - started, result.val_macro_f1))

    fit(to_config(RECIPES[name], epochs=1, patience=0), on_device, seed=seed, on_epoch=on_epoch)
    return curve


def child(name: str, seed: int) -> None:
    import torch

    from bloodsearch.search.data.load import load_dataset

    torch.set_num_threads(1)
    data = load_dataset("bloodmnist")
    found = {"standard": standard_curve(name, data, seed), "ours": our_curve(name, data, seed)}
    print(json.dumps(found))


def compare(row: dict[str, Any]) -> dict[str, Any]:
    """One seed: the standard loop's best and when, and when ours was as good (None: never)."""
    best = max(value for _, value in row["standard"])
    theirs = next(seconds for seconds, value in row["standard"] if value == best)
    ours = next((seconds for seconds, value in row["ours"] if value >= best), None)
    return {
        "target": best,
        "standard_s": theirs,
        "ours_s": ours,
        "ours_best": max(value for _, value in row["ours"]),
        "ratio": theirs / ours if ours else None,
    }


def run(n_seeds: int = 5) -> None:
    path = result_path("quality", by_processor=True)
    known: dict[str, dict[str, Any]] = {}
    if path.exists():
        kept = json.loads(path.read_text())["result"]
        known = {
            name: kept["curves"][name]
            for name in RECIPES
            if kept["recipes"].get(name) == RECIPES[name]
        }
    seeds = range(FIRST_SEED, FIRST_SEED + n_seeds)
    tasks = [(n, name) for n in seeds for name in RECIPES if str(n) not in known.get(name, {})]

    def train(task: tuple[int, str]) -> dict[str, Any]:
        seed, name = task
        found: dict[str, Any] = in_own_process("quality", "--child", name, str(seed))
        return found

    def keep(task: tuple[int, str], found: dict[str, Any]) -> None:
        seed, name = task
        known.setdefault(name, {})[str(seed)] = found
        save("quality", {"recipes": RECIPES, "curves": known}, by_processor=True)
        print(f"seed {seed}, {name}: {compare(found)}", flush=True)

    in_parallel(tasks, train, keep)
    rows = []
    for name, mine in known.items():
        found = [compare(mine[str(seed)]) for seed in seeds]
        reached = [row for row in found if row["ratio"]]
        rows.append(
            [
                name,
                shown(spread([row["target"] for row in found]), digits=4),
                shown(spread([row["standard_s"] for row in found]), " s", 0),
                shown(spread([row["ours_s"] for row in reached]), " s") if reached else "",
                shown(spread([row["ratio"] for row in reached]), "x") if reached else "",
                f"{len(reached)} of {len(found)}",
            ]
        )
    columns = [
        "standard loop trains",
        "its best validation macro-F1",
        "after",
        "ours is there after",
    ]
    table(
        f"time to the standard loop's own best, {n_seeds} seeds, one thread",
        [*columns, "ratio", "seeds that get there"],
        rows,
    )
    save("quality", {"recipes": RECIPES, "curves": known}, by_processor=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--child", nargs=2)
    given = parser.parse_args()
    run(given.seeds) if given.child is None else child(given.child[0], int(given.child[1]))
