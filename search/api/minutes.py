"""From `--minutes` to a study of plain numbers: how wide, how long and how many, at the speed measured here.

The time is shared out among the search, the rungs of its ladder and the final trainings. The widest network
is chosen whose final trainings still have MIN_FINAL_EPOCHS epochs. What comes out is an ordinary study: it is
resumed with the same numbers on any machine, and no clock decides anything in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...studies import StudyFile
from ..errors import UsageError
from ..evaluation.ladder import better_half
from ..sampling.space import Params, to_config
from ..training.config import TrialConfig
from .study import study_file

SEARCH_SHARE, RUNG_SHARE, FINAL_SHARE = 0.35, 0.15, 0.45
"""Shares of the time. The rest is for starting, timing, validation on the way, and what comes out longer."""
MIN_FINAL_EPOCHS, MAX_FINAL_EPOCHS = 40, 100
"""Epochs of a CNN's final training. Longer ones of a narrower network gain less than a wider network."""
MAX_MLP_EPOCHS = 300
MIN_TRIALS, MAX_RUNG_TRIALS = 16, 16
FULL_TRIAL = 0.8
"""Mean length of a searched trial as a share of a complete one, because the pruner stops some."""
N_REPLICATES = 5

Seconds = Callable[[Sequence[TrialConfig]], list[float]]
"""Returns the seconds of an epoch of each configuration, with all workers busy."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is trained in the given time."""

    minutes: float
    n_workers: int
    file: StudyFile
    """The study, in plain numbers."""
    seconds: dict[str, float]
    """Measured seconds of an epoch of the models that were chosen, by name."""
    rungs: list[tuple[str, int, dict[str, int], float]]
    """Name, number of trainings, epochs by family, and expected minutes of each stage."""

    def __str__(self) -> str:
        speeds = ", ".join(f"{seconds:.1f} s ({name})" for name, seconds in self.seconds.items())
        workers = "1 worker" if self.n_workers == 1 else f"{self.n_workers} workers"
        lines = [f"{self.minutes:g} minutes on {workers}; an epoch takes {speeds}"]
        for name, n, epochs, minutes in self.rungs:
            length = ", ".join(f"{n_epochs} ({family})" for family, n_epochs in epochs.items())
            lines.append(f"  {name}: {n} trainings of {length} epochs, about {minutes:.0f} min")
        return "\n".join(lines)


def fit(file: StudyFile, minutes: float, n_workers: int, seconds: Seconds) -> Plan:
    """Return the study that uses `minutes` on this machine, measured by `seconds`.

    Raises UsageError for a study that cannot be fitted, or when the time is too short for any ladder.
    """
    if file.minutes is None or file.search.sampler in ("grid", "baselines"):
        raise UsageError(
            f"--minutes needs a study with a table [minutes], which {file.name} lacks; use --trials N"
        )
    families = [str(f) for f in file.families()]
    models = _models(file, families)
    cost = dict(zip(models, seconds(list(models.values())), strict=True))
    budget = 60 * minutes
    lengths = _lengths(file, cost, FINAL_SHARE * budget / _waves(file, n_workers))
    if lengths is None:
        name, least = min(cost.items(), key=lambda item: (item[0] == "MLP", item[1]))
        raise UsageError(
            f"--minutes {minutes:g} is too short for a ladder here, where an epoch takes {least:.1f} s "
            f"({name}); give more minutes, or use --trials N"
        )
    width, final = lengths
    shown = {name: cost[name] for name in (f"CNN of {width} filters", "MLP") if name in cost}
    searched = {family: file.training.epochs_of(family) for family in families}
    per_epoch = {
        family: cost[f"CNN of {width} filters"] if family == "cnn" else cost["MLP"]
        for family in families
    }
    middle = {family: round(math.sqrt(searched[family] * final[family])) for family in families}
    dearest = max(middle[family] * per_epoch[family] for family in families)
    n_middle = math.floor(RUNG_SHARE * budget * n_workers / dearest)
    n_finalists = file.ladder.finalists if file.ladder is not None else 3
    n_middle = min(MAX_RUNG_TRIALS, max(n_finalists, n_middle))
    final_minutes = _waves(file, n_workers) * max(
        final[family] * per_epoch[family] for family in families
    )
    middle_minutes = math.ceil(n_middle / n_workers) * dearest
    left = max(0.0, (1 - 0.05) * budget - final_minutes - middle_minutes)
    trial = FULL_TRIAL * sum(searched[f] * _of_trial(f, width, cost) for f in families)
    n_trials = max(MIN_TRIALS, n_middle, math.floor(left * n_workers * len(families) / trial))
    changes: dict[str, Any] = {f"space.{name}": entry for name, entry in file.minutes.space.items()}
    if "cnn" in families:
        changes["space.cnn_width"] = sorted({max(8, width // 2), width})
    changes |= {
        "training.final_epochs": final,
        "training.final_patience": 0,
        "search.trials": n_trials,
        "baselines": [],  # recipes of 40 epochs, which the time is not meant for
        "ladder": {"rungs": [{"epochs": middle, "trials": n_middle}], "finalists": n_finalists},
    }
    resolved = study_file(file.model_copy(update={"minutes": None}), _plain(changes))
    n_final = n_finalists + N_REPLICATES - 1
    search_minutes = n_trials * trial / len(families) / n_workers
    rungs = [
        ("search", n_trials, searched, search_minutes / 60),
        ("rung 2", n_middle, middle, middle_minutes / 60),
        ("final trainings", n_final, final, final_minutes / 60),
    ]
    return Plan(minutes, n_workers, resolved, shown, rungs)


def _plain(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes as a study file would hold them."""
    return {
        key: value.model_dump(mode="json") if hasattr(value, "model_dump") else value
        for key, value in changes.items()
    }


def _models(file: StudyFile, families: list[str]) -> dict[str, TrialConfig]:
    """Return the configurations whose epochs are timed, by the name that a plan shows."""
    assert file.minutes is not None
    shared: Params = {
        "optimizer": "adamw", "lr": 1e-3, "schedule": "one_cycle", "augment": "dihedral",
        "shift": 2, "batch_size": 128, "ema": 0.998,
    }  # fmt: skip
    models = {}
    if "cnn" in families:
        cnn: Params = {
            "arch": "cnn", "optimizer": "muon", "cnn_convs": 2, "cnn_residual": True,
            "cnn_norm": True, "cnn_head": "max", "cnn_dropout": 0.2,
        }  # fmt: skip
        for width in file.minutes.cnn_widths:
            point = shared | cnn | {"cnn_width": width}
            models[f"CNN of {width} filters"] = to_config(point, epochs=1, patience=0)
    if "mlp" in families:
        mlp: Params = {"arch": "mlp", "mlp_depth": 2, "mlp_width": 1024, "mlp_norm": True}
        models["MLP"] = to_config(shared | mlp, epochs=1, patience=0)
    return models


def _waves(file: StudyFile, n_workers: int) -> int:
    """Return how many final trainings follow one another on each worker."""
    alive = list(range(file.ladder.finalists if file.ladder is not None else 3))
    waves = trained = 0
    while len(alive) > 1 and trained < N_REPLICATES:
        waves, trained = waves + math.ceil(len(alive) / n_workers), trained + 1
        alive = better_half(alive)
    return waves + math.ceil((N_REPLICATES - trained) / n_workers)


def _lengths(
    file: StudyFile, cost: Mapping[str, float], seconds: float
) -> tuple[int, dict[str, int]] | None:
    """Return the widest CNN's filters (0 without CNNs) and final epochs that take `seconds` at most."""
    assert file.minutes is not None
    final: dict[str, int] = {}
    if "MLP" in cost:
        final["mlp"] = min(MAX_MLP_EPOCHS, math.floor(seconds / cost["MLP"]))
    widths = [w for w in file.minutes.cnn_widths if f"CNN of {w} filters" in cost]
    fitting = [w for w in widths if seconds / cost[f"CNN of {w} filters"] >= MIN_FINAL_EPOCHS]
    width = max(fitting, default=min(widths, default=0))
    if width:
        epochs = math.floor(seconds / cost[f"CNN of {width} filters"])
        final["cnn"] = min(MAX_FINAL_EPOCHS, epochs)
    long_enough = all(n > file.training.epochs_of(family) for family, n in final.items())
    return (width, final) if long_enough else None


def _of_trial(family: str, width: int, cost: Mapping[str, float]) -> float:
    """Return the mean seconds of a trial's epoch: half of the CNNs have half the filters."""
    if family == "mlp":
        return cost["MLP"]
    narrow = cost.get(f"CNN of {width // 2} filters", cost[f"CNN of {width} filters"] / 2)
    return (cost[f"CNN of {width} filters"] + narrow) / 2
