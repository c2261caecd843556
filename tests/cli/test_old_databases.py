"""Databases made by version 0.1.0 before its records were typed: every command works on copies of them.

`old_finished.db` holds a default study on the synthetic set with its finalists and its final evaluation,
`old_half.db` one with a waiting trial. The weights are not kept.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from worker_here import worker_here

from bloodsearch.search.cli import main
from bloodsearch.search.records import Ending
from bloodsearch.search.results import final_result

FIXTURES = Path(__file__).parents[1] / "fixtures"
NAME = "bloodmnist-synthetic"
HALF = ["--set", "training.mlp_final_epochs=2", "--set", "training.final_epochs=1"]
HALF += ["--set", "space.cnn_width=4", "--set", "space.mlp_width=64"]


@pytest.fixture(scope="module", autouse=True)
def _here() -> Iterator[None]:
    with worker_here():
        yield


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command on copies of both databases; returns its JSON, or its text with `code`."""
    for database in FIXTURES.glob("*.db"):
        shutil.copy(database, tmp_path)

    def one(database: str, *args: str, code: int = 0) -> Any:
        storage = f"sqlite:///{tmp_path / f'old_{database}.db'}"
        with pytest.raises(SystemExit) as exit_:
            main([*args, "--storage", storage, *([] if code else ["--json"])])
        shown = capsys.readouterr()
        assert (exit_.value.code or 0) == code, shown.err
        return shown.err if code else json.loads(shown.out)

    return one


def test_status(run: Any) -> None:
    status = run("finished", "status", NAME)
    assert (status["complete"], status["waiting"], status["best_trial"]) == (6, 0, 0)
    assert status["best_value"] == 0.9453633572802362
    assert status["test_openings"] == 1
    status = run("half", "status", NAME)
    assert (status["complete"], status["waiting"], status["n_trials"]) == (4, 1, 8)


def test_show(run: Any) -> None:
    baseline = run("finished", "show", "0", NAME)
    assert baseline["stop_reason"] == "patience"
    assert (baseline["ending"], baseline["detail"]) == (Ending.EARLY_STOPPED, "")
    assert baseline["epochs"] == len(baseline["curve"]) == 29
    searched = run("finished", "show", "2", NAME)
    assert (searched["stop_reason"], searched["ending"]) == ("all epochs trained", "completed")
    assert run("half", "show", "4", NAME)["ending"] == "waiting"


def test_leaderboard(run: Any) -> None:
    rows = run("finished", "leaderboard", NAME)["trials"]
    assert [row["number"] for row in rows][:2] == [0, 2]
    assert rows[0]["params"]["arch"] == "cnn"


def test_report(run: Any, tmp_path: Path) -> None:
    made = run("finished", "report", NAME, "--out", str(tmp_path / "report"))
    text = (tmp_path / "report" / "report.md").read_text()
    assert made["study"] == NAME
    assert "0.6883" in text  # the mean test macro-F1


def test_a_second_final_evaluation_is_refused(run: Any, tmp_path: Path) -> None:
    command = ["finished", "final-eval", NAME, "--out", str(tmp_path / "out")]
    assert "already opened" in run(*command, "--replicates", "3", code=5)
    # the same command as before gives the stored result again, until it is there
    again = run(*command, "--replicates", "2")
    assert again["test_openings"] == 1
    stored = json.loads((FIXTURES / "old_result.json").read_text())
    assert again | {"out": stored["out"]} == stored
    assert "already opened" in run(*command, "--replicates", "2", code=5)


def test_final_evaluation_of_a_half_done_search(run: Any, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "final")]
    options = ["--trial", "3", "--replicates", "1", "--workers", "1"]
    result = run("half", "final-eval", NAME, *options, *out)
    assert (result["trial"], result["replicates"], result["test_openings"]) == (3, 1, 1)
    assert final_result(json.loads((tmp_path / "final" / "result.json").read_text()))


def test_a_half_done_search_is_resumed(run: Any, tmp_path: Path) -> None:
    """The same command as before: the same hash, and the waiting trial keeps its point.

    Its curve depends on the processor, so only its length is compared.
    """
    queued = run("half", "show", "4", NAME)
    storage = f"sqlite:///{tmp_path / 'old_half.db'}"
    sampled = optuna.load_study(study_name=NAME, storage=storage).trials[4].params
    assert len(sampled) > 5
    command = ["optimize", "--dataset", "synthetic", "--trials", "5", "--workers", "1"]
    summary = run("half", *command, "--epochs", "6", *HALF)
    assert summary["complete"] + summary["pruned"] == 5
    assert summary["waiting"] == 0
    trained = run("half", "show", "4", NAME)
    assert trained["started"] >= queued["started"]
    assert {k: trained["params"][k] for k in sampled} == sampled
    assert len(trained["curve"]) == trained["epochs"] == 6


def test_the_result_file_of_an_earlier_version() -> None:
    data = json.loads((FIXTURES / "old_result.json").read_text())
    result = final_result(data)
    assert result is not None
    assert set(data) <= set(type(result).model_fields)
    assert result.test_macro_f1.values == data["test_macro_f1"]["values"]
    assert result.selection is not None
    assert [f.trial for f in result.selection.finalists] == [0, 2, 1]
