"""Full learning curves of random configurations of the default space, recorded once on the real data.

    python -m benchmarks.curves --trials 240             # -> benchmarks/curves.csv
    python -m benchmarks.curves --trials 240 --part 1/2  # a share of them, beside another process

Configurations are drawn and trained as the search does it, each on one thread; configuration i is the same
whoever trains it, as long as the study file is: delete the curves before recording a changed space. Those in
the file are not trained again. Seconds are of the processor, so that a busy machine does not count. A curve
is shorter where the training diverged. The test split is not opened.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("curves.csv")
COLUMNS = ["trial", "family", "epochs", "n_parameters", "epoch_s"]
SERIES = ["values", "val_losses", "train_losses"]


@dataclass(frozen=True, slots=True)
class Curve:
    """A configuration's training: its validation macro-F1 by epoch and what else was seen."""

    number: int
    family: str
    epochs: int
    """Those of its schedule; a curve with fewer diverged in the next one."""
    n_parameters: int
    epoch_s: float
    """Processor seconds of an epoch, validation included."""
    values: tuple[float, ...]
    val_losses: tuple[float, ...]
    train_losses: tuple[float, ...]
    params: dict[str, Any]

    @property
    def diverged(self) -> bool:
        return len(self.values) < self.epochs

    @property
    def best(self) -> float:
        """The search's value of it."""
        return 0.0 if self.diverged else max(self.values)


def read(path: Path = FILE) -> list[Curve]:
    """All recorded curves, in the order of their numbers."""
    with path.open(newline="") as file:
        found = [
            Curve(
                int(row["trial"]),
                row["family"],
                int(row["epochs"]),
                int(row["n_parameters"]),
                float(row["epoch_s"]),
                params=json.loads(row["params"]),
                **{name: tuple(map(float, row[name].split())) for name in SERIES},
            )
            for row in csv.DictReader(file)
        ]
    return sorted(found, key=lambda curve: curve.number)


def append(curve: Curve, path: Path = FILE) -> None:
    """Add a row, in one write: two processes may record at once."""
    with contextlib.suppress(FileExistsError), path.open("x", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow([*COLUMNS, *SERIES, "params"])
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    start = [curve.number, curve.family, curve.epochs, curve.n_parameters, f"{curve.epoch_s:.3f}"]
    numbers = [" ".join(f"{value:.5f}" for value in getattr(curve, name)) for name in SERIES]
    params = json.dumps(curve.params, sort_keys=True)
    table.writerow([*start, *numbers, params])
    with path.open("a", newline="") as file:
        file.write(text.getvalue())


def record(number: int, data: Any) -> Curve:
    """Draw and train configuration `number` of the default space."""
    import optuna

    from bloodsearch.search.sampling.space import suggest, to_config
    from bloodsearch.search.training.cost import n_parameters
    from bloodsearch.search.training.endings import Diverged
    from bloodsearch.search.training.fit import EpochResult, fit
    from bloodsearch.studies import load_study_file

    file = load_study_file("bloodmnist")
    sampler = optuna.samplers.RandomSampler(seed=number)
    params = suggest(optuna.create_study(sampler=sampler).ask(), file)
    config = to_config(params, epochs=file.training.epochs_of(params["arch"]), patience=0)
    history: list[EpochResult] = []
    started = time.process_time()
    try:
        fit(config, data, seed=number, on_epoch=history.append)
    except Diverged as ending:
        print(f"{number}: {ending}", flush=True)
    return Curve(
        number,
        config.family,
        config.epochs,
        n_parameters(config.model),
        (time.process_time() - started) / min(config.epochs, len(history) + 1),
        tuple(result.val_macro_f1 for result in history),
        tuple(result.val_loss for result in history),
        tuple(result.train_loss for result in history),
        params,
    )


def run(n_trials: int, part: int, parts: int) -> None:
    import optuna
    import torch

    from bloodsearch.search.data.load import load_dataset
    from bloodsearch.search.training.device import to_device

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)
    data = to_device(load_dataset("bloodmnist"), torch.device("cpu"))
    known = {curve.number for curve in read()} if FILE.exists() else set()
    for number in range(part, n_trials, parts):
        if number in known:
            continue
        curve = record(number, data)
        append(curve)
        seconds = curve.epoch_s * len(curve.values)
        print(f"{number} {curve.family} {curve.best:.4f} {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=240)
    parser.add_argument("--part", default="0/1", help="i/n: every n-th configuration from the i-th")
    given = parser.parse_args()
    run(given.trials, *map(int, given.part.split("/")))
