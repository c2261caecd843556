"""A course report from training to page, on the synthetic set."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests_support import run_command, small_set
from worker_here import worker_here

pytestmark = [pytest.mark.xdist_group("course-reports"), pytest.mark.slow]

MINE = """
name = "report_b"
description = "report B with networks that train in a second"
[search]
sampler = "grid"
[training]
epochs = 1
final_epochs = 2
[pruner]
name = "none"
[space]
arch = "mlp"
optimizer = "adam"
lr = [1e-3, 1e-2]
mlp_width = 8
batch_size = 512
"""
BASELINE = """
[[baselines]]
name = "B-{family}-{i}"
params = {{ arch = "{family}", {size}, optimizer = "adam", lr = 1e-2, batch_size = 512, loss = "{loss}" }}
published = {{ weighted_f1 = 0.9 }}
"""


@pytest.fixture(scope="module", autouse=True)
def n_test() -> Iterator[int]:
    """The number of test images of the small synthetic set, on which these tests train."""
    with small_set() as n, worker_here():
        yield n


@pytest.fixture(scope="module")
def folder(n_test: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which both parts of a small report B were run."""
    path = tmp_path_factory.mktemp("course")
    sizes = {"mlp": "mlp_width = 8", "cnn": "cnn_width = 4, cnn_blocks = 2"}
    blocks = [
        BASELINE.format(family=f, i=i, size=sizes[f], loss="nll" if i > 2 else "cross_entropy")
        for f in ("mlp", "cnn")
        for i in (1, 3)
    ]
    (path / "mine.toml").write_text(MINE + "".join(blocks))
    done = run_command(
        "optimize", "mine.toml", "--replicates", "2", "--dataset", "synthetic", "--json", cwd=path
    )
    found = json.loads(done.stdout)
    assert [part["study"] for part in found["parts"]] == [
        "report_b-synthetic-baselines",
        "report_b-synthetic-grid",
    ]
    assert [part["complete"] for part in found["parts"]] == [8, 2]
    return path


def as_json(*args: str, cwd: Path) -> Any:
    return json.loads(run_command(*args, "--json", cwd=cwd).stdout)


def test_the_same_command_adds_nothing_and_more_replicates_add_theirs(folder: Path) -> None:
    command = ["optimize", "mine.toml", "--only", "baselines", "--dataset", "synthetic"]
    assert as_json(*command, "--replicates", "2", cwd=folder)["complete"] == 8


def test_replicates_are_no_search_to_choose_the_luckiest_of(folder: Path) -> None:
    command = ["optimize", "mine.toml", "--only", "baselines", "--dataset", "synthetic"]
    shown = run_command(*command, "--replicates", "2", cwd=folder).stdout
    assert "bloodsearch final-eval report_b-synthetic --baselines" in shown
    refused = run_command("final-eval", "report_b-synthetic-baselines", cwd=folder, code=5)
    assert "not a search" in refused.stderr
    assert as_json("status", "report_b-synthetic-baselines", cwd=folder)["test_openings"] == 0


def test_nll_is_cross_entropy_to_the_bit(folder: Path) -> None:
    found = as_json("compare", "B-mlp-1", "B-mlp-3", cwd=folder)
    assert found["paired"]
    assert found["a"]["seeds"] == found["b"]["seeds"]
    assert found["a"]["values"] == found["b"]["values"]
    assert found["verdict"] == "the same on every seed"
    same = run_command("compare", "B-mlp-1", "B-mlp-3", cwd=folder).stdout
    assert "the same on every seed" in same
    assert "to tell" not in same
    shown = run_command("compare", "B-cnn-1", "B-mlp-1", cwd=folder).stdout
    assert "paired on 2 common seeds" in shown
    assert "replicates of each" in shown


def test_before_and_after_the_one_opening(folder: Path, n_test: int) -> None:
    as_json("report", "report_b", "--light", "--out", "before", cwd=folder)
    text = (folder / "before" / "report.md").read_text()
    assert "`bloodsearch final-eval report_b --baselines` tests all of them" in text
    refused = run_command("compare", "B-mlp-1", "B-cnn-1", "--split", "test", cwd=folder, code=5)
    assert "no replicates to compare" in refused.stderr

    found = as_json("final-eval", "report_b", "--baselines", cwd=folder)
    assert found["test_openings"] == 1
    assert [c["name"] for c in found["configurations"]] == [
        "B-mlp-1",
        "B-mlp-3",
        "B-cnn-1",
        "B-cnn-3",
    ]
    assert all(sum(map(sum, c["confusion_matrix"])) == 2 * n_test for c in found["configurations"])
    again = run_command("final-eval", "report_b", "--baselines", cwd=folder, code=5)
    assert "already opened" in again.stderr

    files = as_json("report", "report_b", "--out", "after", cwd=folder)["files"]
    assert all((folder / f).stat().st_size for f in files)
    text = (folder / "after" / "report.md").read_text()
    assert "scores from: the test split" in text
    assert "test split opened: once for all configurations" in text
    scores, matrices = text.split("## Figures 3 and 5")[1].split("## Figures 4 and 6")
    assert "88.66" in scores  # a misprint stands where it matters
    assert "B-cnn-3" in matrices
    assert "2 combinations were trained once each, for at most 1 epochs" in text
    best = text.split("**The best combination of each family under each stop rule**")[1]
    assert re.search(r"\| MLP \| patience 5 \| 0\.\d{4} \| 1 \| Adam \| 0\.0", best)
    mean = found["configurations"][0]["test_weighted_f1"]["mean"]
    assert f"| B-mlp-1 | 2 | {mean:.4f} |" in text
    tested = as_json("compare", "B-mlp-1", "B-cnn-1", "--split", "test", cwd=folder)
    assert tested["a"]["values"] == found["configurations"][0]["test_macro_f1"]["values"]


def test_trials_get_their_replicates(folder: Path) -> None:
    sides = ["report_b-synthetic-grid:0", "report_b-synthetic-grid:1"]
    refused = run_command("compare", *sides, cwd=folder, code=5)
    assert "--replicates 3" in refused.stderr
    found = as_json("compare", *sides, "--replicates", "2", cwd=folder)
    assert found["paired"]
    assert found["n"] == [2, 2]
    assert as_json("status", "report_b-synthetic-grid", cwd=folder)["test_openings"] == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["optimize", "report_b", "--only", "grid"], 'needs sampler = "grid"'),
        (["optimize", "bloodmnist", "--replicates", "2"], "--replicates goes with"),
        (["optimize", "report_a", "--only", "grid", "--replicates", "2"], "trained once"),
        (["optimize", "report_a", "--only", "baselines", "--trials", "2"], "use --replicates"),
        (["optimize", "report_a", "--from-study", "report_b"], "--from-study goes with a search"),
        (["status", "report_b-synthetic-grid", "--watch", "--json"], "does not go with --json"),
        (["compare", "B-mlp-1", "nothing"], "no study, trial or baseline"),
        (
            ["compare", "B-mlp-1", "B-cnn-1", "--split", "test", "--replicates", "2"],
            "only final-eval opens",
        ),
    ],
)
def test_wrong_usage(folder: Path, args: list[str], message: str) -> None:
    done = run_command(
        *args, *(["--dataset", "synthetic"] * (args[0] == "optimize")), cwd=folder, code=2
    )
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
