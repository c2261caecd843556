"""Studies without data and workers without training: what storage, leases and workers are tested with."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.trial import TrialState

from bloodsearch.search.data.bloodmnist import Fingerprint
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.study import create_or_resume
from bloodsearch.search.workers.leases import Leases
from bloodsearch.search.workers.slots import Slot
from bloodsearch.search.workers.supervisor import Supervisor
from bloodsearch.studies import StudyFile, parse_study

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
    storage: Storage, study: optuna.Study, n_trials: int | None, n_workers: int, **options: object
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


def tiny(storage: Storage) -> optuna.Study:
    """The study of `tiny_study`, made or found."""
    return create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)


def assert_exact(leases: Leases, n: int) -> None:
    """`n` complete trials, and nothing and nobody left over."""
    counts = leases.counts()
    assert counts[TrialState.COMPLETE] == n
    assert counts[TrialState.RUNNING] == counts[TrialState.WAITING] == 0
    assert leases.registry.workers() == []


def url_of(server: Any) -> str:
    """The address of a PostgreSQL server made for one test."""
    url = sa.make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    return url.render_as_string(hide_password=False)


def fill_disk(path: Path) -> None:
    """A file that takes all the room there is."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
