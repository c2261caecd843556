"""The main job as a user runs it, on the synthetic set: search, look, replay, final evaluation."""

from __future__ import annotations

import csv
import io
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from tests_support import run_command, small_set

# one search for all tests of this file, which look at it in their order
pytestmark = [pytest.mark.xdist_group("end-to-end"), pytest.mark.slow]

SMALL = ["--dataset", "synthetic", "--set", "training.epochs=2", "--set", "training.final_epochs=2"]
SMALL += ["--set", "space.mlp_width=[16, 32]", "--set", "space.cnn_width=[4, 8]"]
SMALL += ["--set", "space.batch_size=512"]


def bloodsearch(
    *args: str, cwd: Path, code: int = 0, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in `cwd`; fails the test on any other exit code than `code`."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "bloodsearch", *args],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def as_json(*args: str, cwd: Path, **env: str) -> Any:
    done = run_command(*args, "--json", cwd=cwd, code=0, **env)
    return json.loads(done.stdout)


@pytest.fixture(scope="module", autouse=True)
def n_test() -> Iterator[int]:
    """The number of test images of the small synthetic set, on which these tests train."""
    with small_set() as n:
        yield n


@pytest.fixture(scope="module")
def folder(n_test: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a search of four trials was run."""
    path = tmp_path_factory.mktemp("user")
    done = bloodsearch("optimize", "demo", "--trials", "4", *SMALL, cwd=path)
    assert "study demo-synthetic on the synthetic set" in done.stderr
    assert "best validation macro-F1" in done.stdout
    assert "bloodsearch final-eval demo --name demo-synthetic" in done.stdout
    return path


def test_same_command_adds_none_and_json_is_whole(folder: Path) -> None:
    found = as_json("optimize", "demo", "--trials", "4", *SMALL, cwd=folder)
    promised = (
        "study storage dataset n_trials complete pruned failed running waiting "
        "best_value best_trial best_params seconds"
    )
    assert set(promised.split()) <= set(found)
    assert found["complete"] + found["pruned"] == 4
    assert found["running"] == found["waiting"] == found["failed"] == 0
    assert found["dataset"] == "synthetic"


def test_other_space_is_refused(folder: Path) -> None:
    done = run_command(
        "optimize", "demo", "--trials", "4", *SMALL, "--epochs", "3", cwd=folder, code=5
    )
    assert done.stderr.count("\n") == 1
    assert "training.epochs is 2 in the study, 3 in this command" in done.stderr
    assert "Traceback" not in done.stderr


def test_status(folder: Path) -> None:
    found = as_json("status", "demo", "--name", "demo-synthetic", cwd=folder)
    assert found["complete"] + found["pruned"] == found["n_trials"] == 4
    assert found["workers"] == []
    shown = run_command("status", "demo", cwd=folder)
    assert "4 of 4 trials finished" in shown.stdout
    assert "the study demo-synthetic, because" in shown.stderr


def test_leaderboard(folder: Path) -> None:
    rows = as_json("leaderboard", "demo-synthetic", "--top", "3", cwd=folder)["trials"]
    assert len(rows) == 3
    assert {"number", "value", "state", "params", "epochs", "seconds"} <= set(rows[0])
    values = [row["value"] for row in rows if row["state"] == "complete"]
    assert values == sorted(values, reverse=True)
    text = run_command("leaderboard", "demo-synthetic", "--csv", cwd=folder).stdout
    table = list(csv.DictReader(io.StringIO(text)))
    assert [int(row["number"]) for row in table][:3] == [row["number"] for row in rows]
    assert {"arch", "lr"} <= set(table[0])


def test_show_and_replay_bit_for_bit(folder: Path) -> None:
    best = as_json("leaderboard", "demo-synthetic", "--top", "1", cwd=folder)["trials"][0]
    trial = str(best["number"])
    record = as_json("show", trial, "demo-synthetic", cwd=folder)
    stored = "seed config data_hash versions device epochs per_class_f1 ending train_seconds"
    assert set(stored.split()) <= set(record)
    assert record["curve"][record["best_epoch"] - 1] == record["value"] == best["value"]
    assert (
        "ended because: all epochs trained" in run_command("show", trial, "demo", cwd=folder).stdout
    )
    again = json.loads(bloodsearch("replay", trial, "demo-synthetic", "--json", cwd=folder).stdout)
    assert again["identical"], again
    assert again["again"] == record["curve"]


def test_plain_optuna_reads_it(folder: Path) -> None:
    url = f"sqlite:///{folder}/bloodsearch.db"
    study = optuna.load_study(study_name="demo-synthetic", storage=url)
    assert len(study.trials) == 4
    assert study.best_trial.intermediate_values
    cli = [str(Path(sys.executable).parent / "optuna"), "best-trial", "--storage", url]
    done = subprocess.run(
        [*cli, "--study-name", "demo-synthetic"], capture_output=True, text=True, timeout=60
    )
    assert str(study.best_trial.number) in done.stdout


def test_final_evaluation_opens_the_test_split_once(folder: Path, n_test: int) -> None:
    # a module's tests run in file order: nothing was opened before
    assert as_json("status", "demo-synthetic", cwd=folder)["test_openings"] == 0
    command = ["final-eval", "demo-synthetic", "--replicates", "2", "--finalists", "2"]
    command += ["--workers", "1"]
    found = as_json(*command, "--rounds", "1", "--train-val", cwd=folder)
    promised = (
        "study trial params replicates test_macro_f1 test_accuracy test_weighted_f1 per_class "
        "confusion_matrix val_macro_f1 search_value test_openings out"
    )
    assert set(promised.split()) <= set(found)
    assert found["replicates"] == len(set(found["seeds"])) == 2
    assert len(found["test_macro_f1"]["values"]) == 2
    assert sum(map(sum, found["confusion_matrix"])) == 2 * n_test
    assert found["per_class"][0]["name"] == "basophil"
    (refits,) = found["declared_options"]
    assert refits["option"] == "trained on train and validation"
    assert refits["test_macro_f1"]["n"] == 2
    assert refits["test_macro_f1"]["values"] != found["test_macro_f1"]["values"]
    low, high = found["test_macro_f1"]["interval_95"]
    assert low < found["test_macro_f1"]["mean"] < high
    assert found["test_openings"] == 1
    raced = found["selection"]
    assert found["trial"] == raced["winner"] == raced["finalists"][0]["trial"]
    assert [len(f["values"]) for f in raced["finalists"]] == [1, 1]
    out = folder / found["out"]
    assert json.loads((out / "result.json").read_text())["test_openings"] == 1
    assert sorted(p.name for p in out.iterdir()) == [
        "config.json",
        "predictions.npz",
        "replicate-0.pt",
        "replicate-1.pt",
        "result.json",
    ]

    refused = run_command("final-eval", "demo-synthetic", cwd=folder, code=5)
    assert "already opened" in refused.stderr
    assert refused.stderr.count("\n") == 1
    again = as_json(*command, "--rounds", "1", "--force", cwd=folder)
    assert again["test_openings"] == 2
    assert again["confusion_matrix"] == found["confusion_matrix"]  # the same replicates, kept
    with sqlite3.connect(folder / "bloodsearch.db") as db:
        rows = db.execute("SELECT study_name, forced FROM bloodsearch_ledger").fetchall()
    db.close()
    assert rows == [("demo-synthetic", 0), ("demo-synthetic", 1)]


def test_search_and_final_evaluation_on_postgres(tmp_path: Path, postgres_url: str) -> None:
    env = {"BLOODSEARCH_STORAGE": postgres_url}
    found = as_json("optimize", "demo", "--trials", "3", *SMALL, cwd=tmp_path, **env)
    assert found["complete"] + found["pruned"] == 3
    assert found["storage"].startswith("postgresql+psycopg://")
    command = ["final-eval", "demo-synthetic", "--replicates", "1", "--finalists", "1"]
    command += ["--workers", "1"]
    result = as_json(*command, cwd=tmp_path, **env)
    assert result["test_openings"] == 1
    run_command("final-eval", "demo-synthetic", cwd=tmp_path, code=5, **env)
    assert not (tmp_path / "bloodsearch.db").exists()
