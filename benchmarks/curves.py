"""Full learning curves of random configurations of the default space, recorded once on the real data.

    bloodsearch optimize --name curves --trials 240 --set search.sampler=random \\
        --set pruner.name=none --set "baselines=[]" --storage sqlite:///curves.db
    python -m benchmarks curves                   # sqlite:///curves.db -> benchmarks/curves.csv

The search may be interrupted and goes on with the same command. One row a trial; a curve is shorter where
the training diverged.
"""

from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from search.storage import open_storage
from search.study import load

FILE = Path(__file__).with_name("curves.csv")
STORAGE = "sqlite:///curves.db"


@dataclass(frozen=True, slots=True)
class Curve:
    """A configuration's validation macro-F1 by epoch, and the seconds of an epoch."""

    number: int
    family: str
    epoch_s: float
    values: tuple[float, ...]
    params: dict[str, object]

    @property
    def best(self) -> float:
        return max(self.values, default=0.0)


def read(path: Path = FILE) -> list[Curve]:
    with path.open(newline="") as file:
        return [
            Curve(
                int(row["trial"]),
                row["family"],
                float(row["epoch_s"]),
                tuple(map(float, row["values"].split())),
                json.loads(row["params"]),
            )
            for row in csv.DictReader(file)
        ]


def write(curves: list[Curve], path: Path = FILE) -> None:
    with path.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["trial", "family", "epoch_s", "values", "params"])
        for curve in curves:
            values = " ".join(f"{value:.6f}" for value in curve.values)
            params = json.dumps(curve.params, sort_keys=True)
            table.writerow([curve.number, curve.family, f"{curve.epoch_s:.3f}", values, params])


def curve_of(trial: FrozenTrial) -> Curve:
    steps = sorted(trial.intermediate_values)
    seconds = trial.duration.total_seconds() if trial.duration else 0.0
    return Curve(
        trial.number,
        str(trial.user_attrs["family"]),
        seconds / max(1, len(steps)),
        tuple(trial.intermediate_values[step] for step in steps),
        trial.user_attrs["params"],
    )


def run() -> None:
    storage = open_storage(os.environ.get("BLOODSEARCH_STORAGE") or STORAGE, create=False)
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    trials = load(storage, "curves").get_trials(deepcopy=False, states=states)
    storage.close()
    write([curve_of(trial) for trial in trials])
    print(f"{len(trials)} curves in {FILE}")
