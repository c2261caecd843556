"""`bloodsearch optimize --create-only`: the study and its budget, and no worker."""

from __future__ import annotations

import json

import pytest

from bloodsearch.search.cli import main
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.study import info, load

pytestmark = pytest.mark.slow


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(args))
    return int(ended.value.code or 0)


def create(url: str, n_trials: int, *extra: str) -> int:
    return run(
        "optimize",
        "demo",
        "--dataset",
        "synthetic",
        "--storage",
        url,
        "--trials",
        str(n_trials),
        "--create-only",
        *extra,
    )


def test_the_study_is_made_and_nothing_runs(
    storage_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert create(storage_url, 3, "--json") == 0
    made = json.loads(capsys.readouterr().out)
    assert made["study"] == "demo-synthetic"
    assert made["n_trials"] == 3
    assert [made[s] for s in ("complete", "pruned", "failed", "running")] == [0, 0, 0, 0]

    # again, with a larger budget: the same study
    assert create(storage_url, 5) == 0
    assert "demo-synthetic" in (out := capsys.readouterr().out)
    assert "0 of 5 trials finished" in out
    assert run("status", "demo", "--storage", storage_url, "--json") == 0
    assert json.loads(capsys.readouterr().out)["n_trials"] == 5


def test_it_prints_what_to_type_next(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert create(sqlite_url, 2, "--name", "mine") == 0
    assert f"bloodsearch worker demo --storage {sqlite_url} --name mine" in capsys.readouterr().out


def test_another_space_is_refused(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert create(sqlite_url, 2) == 0
    assert create(sqlite_url, 2, "--epochs", "3") == 5
    assert "training.epochs" in capsys.readouterr().err


def test_epochs_counts_for_every_family(sqlite_url: str) -> None:
    storage = open_storage(sqlite_url, create=True)
    args = ["--storage", sqlite_url, "--dataset", "synthetic", "--create-only", "--epochs", "3"]
    for name in ("bloodmnist", "demo"):
        assert run("optimize", name, *args) == 0
        training = info(load(storage, f"{name}-synthetic")).study_file.training
        assert [training.epochs_of(arch) for arch in ("cnn", "mlp")] == [3, 3]
    # a grid has its epochs among the parameters
    assert run("optimize", "report_a", "--trials", "1", *args) == 0
    file = info(load(storage, "report_a-synthetic")).study_file
    assert file.space["epochs"] == 3
    storage.close()
