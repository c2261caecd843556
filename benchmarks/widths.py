"""Wider or longer? Networks of several widths, each trained for as many epochs as take the same time.

    python -m benchmarks widths                       # 4 and 12 minutes; continues where it stopped
    python -m benchmarks.widths --minutes 4 --seeds 2

`optimize --minutes` must choose one width for its final trainings. How many epochs of a width take so many
minutes is measured first, with all cores busy, and kept. Two recipes are trained: the one of a person who
does not search, and one that a search of 20 minutes has found. Values are of validation. The test split stays
closed.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from typing import Any

from benchmarks.common import in_own_process, in_parallel, result_path, save, table
from benchmarks.lengths import train_once
from benchmarks.whole_searches import HAND_MADE
from benchmarks.whole_tables import mean_and_sd
from bloodsearch.search.sampling.space import Params, to_config

RECIPES: dict[str, Params] = {
    "by hand": HAND_MADE,
    "found": HAND_MADE
    | {
        "lr": 0.0144, "weight_decay": 0.0078, "label_smoothing": 0.088, "cnn_head": "mean",
        "cnn_dropout": 0.022,
    },
}  # fmt: skip
WIDTHS = (16, 24, 32, 48, 64)
MINUTES = (4.0, 12.0)


def child(name: str, width: int, epochs: int, seed: int) -> None:
    print(json.dumps(train_once(RECIPES[name] | {"cnn_width": width}, epochs, seed)))


def epoch_seconds() -> dict[str, float]:
    """Return the seconds of an epoch of each width, with all cores busy."""
    from bloodsearch.search.api.placement import AUTO
    from bloodsearch.search.api.timing import epoch_seconds

    points = [RECIPES["found"] | {"cnn_width": width} for width in WIDTHS]
    configs = [to_config(point, epochs=1, patience=0) for point in points]
    return dict(zip(map(str, WIDTHS), epoch_seconds(configs, AUTO.slots(1)), strict=True))


def run(minutes: tuple[float, ...] = MINUTES, n_seeds: int = 3) -> None:
    path = result_path("widths", by_processor=True)
    kept = json.loads(path.read_text())["result"] if path.exists() else {}
    seconds: dict[str, float] = kept.get("epoch_seconds") or epoch_seconds()
    trained: dict[str, dict[str, Any]] = kept.get("trained", {})
    lengths = {
        (time_, width): math.floor(60 * time_ / seconds[str(width)])
        for time_ in minutes
        for width in WIDTHS
    }

    def key(name: str, width: int, epochs: int, seed: int) -> str:
        return f"{name}, {width} filters, {epochs} epochs, seed {seed}"

    tasks = [
        (name, width, lengths[time_, width], seed)
        for time_ in minutes
        for seed in range(n_seeds)
        for name in RECIPES
        for width in reversed(WIDTHS)
    ]

    def train(task: tuple[str, int, int, int]) -> dict[str, Any]:
        found: dict[str, Any] = in_own_process("widths", "--child", *map(str, task))
        return found

    def keep(task: tuple[str, int, int, int], found: dict[str, Any]) -> None:
        trained[key(*task)] = found
        save("widths", {"epoch_seconds": seconds, "trained": trained}, by_processor=True)
        print(key(*task), f"{found['values'][-1]:.4f}", f"{found['cpu_seconds']:.0f} s", flush=True)

    in_parallel([task for task in tasks if key(*task) not in trained], train, keep)
    for time_ in minutes:
        rows = []
        for width in WIDTHS:
            epochs = lengths[time_, width]
            groups = {
                name: [trained[key(name, width, epochs, seed)] for seed in range(n_seeds)]
                for name in RECIPES
            }
            cpu = statistics.fmean(run["cpu_seconds"] for group in groups.values() for run in group)
            scores = [mean_and_sd([run["values"][-1] for run in g]) for g in groups.values()]
            rows.append([str(width), str(epochs), *scores, f"{cpu:.0f}"])
        table(
            f"{time_:g} minutes of a core, n = {n_seeds}, validation macro-F1 (sd over seeds)",
            ["filters", "epochs", *(f"recipe {name}" for name in RECIPES), "CPU s"],
            rows,
        )
    save("widths", {"epoch_seconds": seconds, "trained": trained}, by_processor=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, nargs="+", default=MINUTES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--child", nargs=4)
    given = parser.parse_args()
    if given.child is not None:
        name, width, epochs, seed = given.child
        child(name, int(width), int(epochs), int(seed))
    else:
        run(tuple(given.minutes), given.seeds)
