"""Studies without data and workers without training: what storage, leases and workers are tested with."""

from __future__ import annotations

import sys
from pathlib import Path

import optuna
from optuna.trial import TrialState

from search.leases import Leases
from search.slots import Slot
from search.storage import Storage
from search.training.data import Fingerprint
from search.workers import Supervisor
from studies import StudyFile, parse_study

FINGERPRINT = Fingerprint("synthetic", "synthetic", "0" * 32)


def tiny_study(**sections: object) -> StudyFile:
    """A small valid study file; keyword arguments replace whole sections."""
    data: dict[str, object] = {
        "name": "tiny",
        "training": {"epochs": 3, "final_epochs": 3},
        "space": {
            "arch": ["mlp", "cnn"],
            "optimizer": "adam",
            "lr": {"low": 1e-4, "high": 1e-1, "log": True},
            "mlp_width": [8, 16],
            "cnn_width": [2, 4],
        },
    }
    return parse_study(data | sections, "tiny")


SIMULATED_WORKER = Path(__file__).parents[2] / "benchmarks" / "simulated_worker.py"


def supervisor(
    storage: Storage, study: optuna.Study, n_trials: int, n_workers: int, **options: object
) -> Supervisor:
    """A supervisor of simulated workers: real processes whose trials sleep."""
    return Supervisor(
        Leases(storage, study),
        [Slot("cpu", "cpu", 1)] * n_workers,
        n_trials,
        program=(sys.executable, "-P", str(SIMULATED_WORKER)),
        **options,  # type: ignore[arg-type]
    )


def claims(log: Path) -> list[int]:
    """Trial numbers in the order in which simulated workers started them."""
    return [int(line.split()[0]) for line in log.read_text().splitlines()] if log.exists() else []


def finished_configurations(study: optuna.Study) -> list[str]:
    """The parameters of each finished trial, as text."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return [repr(sorted(trial.params.items())) for trial in trials]
