"""Studies without data and workers without training: what storage, leases and workers are tested with."""

from __future__ import annotations

import contextlib
import io
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState

from bloodsearch.search.cli import main
from bloodsearch.search.data import registry, synthetic
from bloodsearch.search.data.info import Fingerprint
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.study import create_or_resume
from bloodsearch.search.workers.launch import LocalLauncher
from bloodsearch.search.workers.leases import Leases
from bloodsearch.search.workers.slots import Slot
from bloodsearch.search.workers.supervisor import Supervisor
from bloodsearch.studies import StudyFile, parse_study

FINGERPRINT = Fingerprint("synthetic", "synthetic", "0" * 32)


def shrink(
    monkeypatch: pytest.MonkeyPatch, sizes: dict[str, int], dataset: str = "bloodmnist"
) -> None:
    """Let a registered set have splits of these sizes, so that a file of kilobytes will do."""
    monkeypatch.setitem(registry._tables()[dataset], "n_images", sizes)


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


TINY_STUDY = """\
name = "tiny"
[search]
sampler = "random"
[training]
epochs = 1
final_epochs = 1
[space]
arch = "mlp"
optimizer = "adamw"
lr = { low = 1e-3, high = 1e-2, log = true }
mlp_depth = 1
mlp_width = 32
"""
"""A study file whose trials take a second on the synthetic set."""

SMALL_SET = {"PYTHONPATH": str(Path(__file__).with_name("small_set"))}
"""Variables of a process that shall train on a quarter of the synthetic set, and its workers with it."""


SIMULATED_WORKER = Path(__file__).parents[2] / "benchmarks" / "simulated_worker.py"


def supervisor(
    storage: Storage, study: optuna.Study, n_trials: int | None, n_workers: int, **options: object
) -> Supervisor:
    """A supervisor of simulated workers: real processes whose trials sleep."""
    return Supervisor(
        Leases(storage, study),
        [Slot("cpu", "cpu", 1)] * n_workers,
        n_trials,
        launcher=LocalLauncher(("-P", str(SIMULATED_WORKER))),
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


def run_command(
    *args: str, cwd: Path, code: int = 0, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, which has its imports already; fail the test on another exit code."""
    out, err = io.StringIO(), io.StringIO()
    actual = 0
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.MonkeyPatch.context() as monkeypatch,
    ):
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        try:
            main(list(args))
        except SystemExit as ended:
            actual = int(ended.code or 0)
    assert actual == code, f"exit {actual}\n{out.getvalue()}\n{err.getvalue()}"
    return subprocess.CompletedProcess(args, actual, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def small_set() -> Iterator[int]:
    """Give this process and all that it starts the small synthetic set; yield the size of its test split."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        small = {
            split: tuple(n // 4 for n in counts) for split, counts in synthetic._COUNTS.items()
        }
        monkeypatch.setattr(synthetic, "_COUNTS", small)
        for name, value in SMALL_SET.items():
            monkeypatch.setenv(name, value)
        yield sum(small["test"])
