"""What a run shows on standard error."""

from __future__ import annotations

from pathlib import Path

import pytest

from bloodsearch.search.api.events import Notice
from bloodsearch.search.api.results import SearchResult
from bloodsearch.search.cli.progress import Screen
from bloodsearch.search.cli.search_summary import Summaries
from bloodsearch.search.cli.suggest import command, where


def test_json_keeps_warnings_alone(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(quiet=True)
    screen(Notice("4 workers"))
    screen(Notice("a worker died", warning=True))
    assert capsys.readouterr().err == "bloodsearch: a worker died\n"


def test_suggested_commands_can_be_pasted() -> None:
    arguments = where("my study.toml", "sqlite:///it's here.db", "x")
    assert command("leaderboard", *arguments) == (
        "bloodsearch leaderboard 'my study.toml' --storage 'sqlite:///it'\"'\"'s here.db' --name x"
    )
    assert command("status", *where("bloodmnist", None)) == "bloodsearch status"


def test_suggested_commands_repeat_no_name_that_is_assumed() -> None:
    assert where("demo", None, "demo") == ["demo"]
    assert where(None, None, "bloodmnist") == []
    assert where("demo", None, "demo-synthetic") == ["demo", "--name", "demo-synthetic"]


@pytest.mark.parametrize("in_time", [True, False])
def test_the_next_final_evaluation_finds_the_data(
    in_time: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stopped with "bloodmnist.npz is not in ~/.medmnist"."""
    summaries = Summaries(False, None, None, Path("my data"))
    counts = {"complete": 1, "pruned": 0, "failed": 0, "running": 0, "waiting": 0}
    summary = {"study": "bloodmnist", "storage": "s", "dataset": "bloodmnist", "n_trials": 1}
    best = {"best_value": 0.5, "best_trial": 0, "best_params": {}, "seconds": 1.0}
    summaries.add(
        SearchResult.of({**summary, **counts, **best}, elapsed_seconds=1.0, in_time=in_time)
    )
    suggested = "bloodsearch final-eval --data-root 'my data'"
    assert (suggested in capsys.readouterr().out) == in_time
