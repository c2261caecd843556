"""A search with simulated workers, as a process of its own that can be killed.

python -m benchmarks.simulated_search URL STUDY N_TRIALS N_WORKERS

SIM_PATIENCE_S: seconds that a signalled supervisor gives its workers, where it should not be a product's few.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import optuna

from bloodsearch.search.data.info import Fingerprint
from bloodsearch.search.database.storage import Storage, open_storage
from bloodsearch.search.errors import BloodsearchError
from bloodsearch.search.study import create_or_resume
from bloodsearch.search.workers import supervisor as workers
from bloodsearch.search.workers.launch import LocalLauncher
from bloodsearch.search.workers.leases import Leases
from bloodsearch.search.workers.slots import Slot
from bloodsearch.search.workers.supervisor import Supervisor
from bloodsearch.studies import StudyFile, parse_study

WORKER = Path(__file__).with_name("simulated_worker.py")
FINGERPRINT = Fingerprint("synthetic", "synthetic", "0" * 32)


def study_file(seed: int = 0) -> StudyFile:
    """A small space whose configurations practically never repeat by chance."""
    space = {
        "arch": ["mlp", "cnn"],
        "optimizer": "adam",
        "lr": {"low": 1e-5, "high": 1e-1, "log": True},
        "mlp_width": {"low": 8, "high": 512},
        "cnn_width": {"low": 2, "high": 64},
    }
    data = {
        "name": "simulated",
        "search": {"sampler": "random", "seed": seed},
        "training": {"epochs": 3, "final_epochs": 3},
        "space": space,
    }
    return parse_study(data, "simulated")


def supervisor(storage: Storage, study: optuna.Study, n_trials: int, n_workers: int) -> Supervisor:
    return Supervisor(
        Leases(storage, study),
        [Slot("cpu", "cpu", 1)] * n_workers,
        n_trials,
        launcher=LocalLauncher(("-P", str(WORKER))),
    )


def main(url: str, name: str, n_trials: str, n_workers: str) -> None:
    if patience := os.environ.get("SIM_PATIENCE_S"):
        workers.PROMPT_S = workers.LAST_S = float(patience)
    storage = open_storage(url, create=True)
    study = create_or_resume(storage, name, study_file(), FINGERPRINT)
    supervisor(storage, study, int(n_trials), int(n_workers)).run()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except BloodsearchError as error:
        print(f"bloodsearch: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
