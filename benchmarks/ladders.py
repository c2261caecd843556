"""Ladders of lengths: the same configurations trained for 5, 15 and 45 epochs, each a complete schedule.

    python -m benchmarks.ladders --minutes 40          # trains for so long, and continues where it stopped
    python -m benchmarks.ladders --family mlp --number 12
    python -m benchmarks.ladders --minutes 0           # only prints what was recorded

Configuration i of a family is the same whoever trains it. All lengths of one configuration are trained before
the next configuration, so whatever is recorded can be replayed (`python -m benchmarks ladder_replay`). Each
length has its own seed, as the rungs of a search have. Kept are the curve, the processor's seconds and the
predictions for the validation images; the test split stays closed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import kendalltau, spearmanr

from benchmarks.common import RESULTS, in_own_process, in_parallel, save, table

LENGTHS = {"cnn": (5, 15, 45), "mlp": (10, 30, 90)}
SPACE: dict[str, dict[str, Any]] = {
    "cnn": {
        "optimizer": ("muon", "adamw"),
        "lr": (1e-3, 2e-2),
        "weight_decay": (1e-4, 3e-1),
        "batch_size": (64, 128, 256),
        "label_smoothing": (0.0, 0.2),
        "ema": (0.0, 0.998),
        "cnn_width": (16, 24, 32, 48),
        "cnn_convs": (1, 2),
        "cnn_dropout": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
        "cnn_head": ("mean", "max"),
    },
    "mlp": {
        "optimizer": ("adamw",),
        "lr": (5e-4, 1e-2),
        "weight_decay": (1e-3, 3e-1),
        "batch_size": (64, 128, 256),
        "label_smoothing": (0.0, 0.2),
        "ema": (0.0, 0.998),
        "mlp_depth": (1, 2, 3),
        "mlp_width": (256, 512, 1024),
        "mlp_dropout": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5),
        "mlp_norm": (False, True),
    },
}
"""Choices; a pair of numbers for lr, weight_decay and label_smoothing is a range."""
RANGES = {"lr": "log", "weight_decay": "log", "label_smoothing": "linear"}
FIXED: dict[str, Any] = {
    "loss": "cross_entropy",
    "schedule": "one_cycle",
    "augment": "dihedral",
    "shift": 2,
}
CNN: dict[str, Any] = {
    "cnn_blocks": 3,
    "cnn_growth": 2.0,
    "cnn_residual": True,
    "cnn_norm": True,
    "cnn_hidden": "none",
}

Runs = dict[str, dict[str, Any]]


def configuration(family: str, number: int) -> dict[str, Any]:
    """Return configuration `number` of a family; it depends on nothing else."""
    generator = np.random.default_rng([number, len(family), ord(family[0])])
    point: dict[str, Any] = {"arch": family} | FIXED | (CNN if family == "cnn" else {})
    for name, choices in SPACE[family].items():
        if name in RANGES:
            low, high = choices
            edges = np.log([low, high]) if RANGES[name] == "log" else np.array([low, high])
            drawn = generator.uniform(*edges)
            point[name] = float(f"{np.exp(drawn) if RANGES[name] == 'log' else drawn:.4g}")
        else:
            point[name] = choices[generator.integers(len(choices))]
    return point


def key(family: str, number: int, epochs: int, seed: int) -> str:
    return f"{family} {number}, {epochs} epochs, seed {seed}"


def child(family: str, number: int, epochs: int, seed: int) -> None:
    """Train once and print the curve and the predictions as JSON."""
    import torch

    from bloodsearch.search.data.load import load_dataset
    from bloodsearch.search.sampling.space import to_config
    from bloodsearch.search.training.device import choose_precision, to_device
    from bloodsearch.search.training.endings import Diverged
    from bloodsearch.search.training.loop import Training
    from bloodsearch.search.training.predict import predict_logits

    torch.set_num_threads(1)
    data = to_device(load_dataset("bloodmnist"), torch.device("cpu"))
    config = to_config(configuration(family, number), epochs=epochs, patience=0)
    training = Training(config, data, seed, None, choose_precision(data.device))
    values: list[float] = []
    started, predicted = time.process_time(), ""
    try:
        training.train(lambda result: values.append(result.val_macro_f1), lambda: False, None)
        logits = predict_logits(training.validated, data.val_images, training.dtype)
        predicted = "".join(map(str, logits.argmax(dim=1).tolist()))
    except Diverged:
        pass
    result = {
        "values": [round(value, 5) for value in values],
        "predicted": predicted,
        "n_parameters": sum(p.numel() for p in training.model.parameters()),
        "cpu_seconds": round(time.process_time() - started, 1),
    }
    print(json.dumps(result))


def work(families: Sequence[str], number: int, seeds: int) -> Iterator[tuple[str, int, int, int]]:
    """Yield the trainings in their order: a configuration's ladder, then its further seeds, then the next."""
    for i, family in itertools.product(range(number), families):
        for replicate, rung in itertools.product(range(seeds), range(3)):
            # every length has seeds of its own: a rung never sees the seed of the one below
            yield family, i, LENGTHS[family][rung], 3 * replicate + rung


def complete(runs: Mapping[str, Any], family: str) -> dict[int, list[dict[str, Any]]]:
    """Return the configurations whose first ladder is recorded, each with its three trainings."""
    ladders = {}
    for name in runs:
        number = int(name.split(",")[0].split()[1])
        rungs = [runs.get(key(family, number, n, i)) for i, n in enumerate(LENGTHS[family])]
        if name.startswith(family) and all(rungs):
            ladders[number] = [rung for rung in rungs if rung]
    return ladders


def end(run: Mapping[str, Any], epochs: int) -> float:
    """Return the value of a training, 0 if it diverged."""
    return max(run["values"]) if len(run["values"]) == epochs else 0.0


def show(runs: Runs) -> None:
    """Print how the order at one length agrees with the order at the last."""
    rows = []
    for family, lengths in LENGTHS.items():
        ladders = complete(runs, family)
        if len(ladders) < 4:
            continue
        values = np.array(
            [
                [end(r, n) for r, n in zip(ladder, lengths, strict=True)]
                for ladder in ladders.values()
            ]
        )
        for i, epochs in enumerate(lengths):
            seconds = [ladder[i]["cpu_seconds"] / epochs for ladder in ladders.values()]
            rows.append(
                [family, len(ladders), epochs, f"{values[:, i].max():.4f}",
                 f"{spearmanr(values[:, i], values[:, -1]).statistic:.2f}",
                 f"{kendalltau(values[:, i], values[:, -1]).statistic:.2f}",
                 f"{values[values[:, i].argmax(), -1] - values[:, -1].max():+.4f}",
                 f"{statistics.median(seconds):.1f}"]
            )  # fmt: skip
    columns = ["family", "n", "epochs", "best value", "Spearman with the last", "Kendall"]
    columns += ["last value of the best here, against the best", "CPU s an epoch"]
    table("ladders of complete schedules (validation macro-F1)", columns, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--minutes", type=float, default=1e6, help="start no training after so long"
    )
    parser.add_argument("--family", choices=["cnn", "mlp", "both"], default="both")
    parser.add_argument("--number", type=int, default=24, help="configurations per family")
    parser.add_argument("--seeds", type=int, default=1, help="whole ladders per configuration")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--child", nargs=4)
    given = parser.parse_args(arguments)
    if given.child is not None:
        family, *numbers = given.child
        return child(family, *map(int, numbers))
    path = RESULTS / "ladders.json"
    runs: Runs = json.loads(path.read_text())["result"] if path.exists() else {}
    families = ["cnn", "mlp"] if given.family == "both" else [given.family]
    tasks = [t for t in work(families, given.number, given.seeds) if key(*t) not in runs]
    print(f"{len(runs)} trainings are stored, {len(tasks)} are missing", flush=True)
    until = time.monotonic() + 60 * given.minutes

    def train(task: tuple[str, int, int, int]) -> dict[str, Any]:
        result: dict[str, Any] = in_own_process("ladders", "--child", *map(str, task))
        return result

    def keep(task: tuple[str, int, int, int], result: dict[str, Any]) -> None:
        runs[key(*task)] = result
        print(key(*task), f"{max(result['values'], default=0):.4f}", flush=True)
        save("ladders", runs)

    in_parallel(tasks, train, keep, workers=given.workers, until=until)
    show(runs)
    if not path.exists():
        save("ladders", runs)


def run() -> None:
    main([])


if __name__ == "__main__":
    main()
