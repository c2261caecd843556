"""What a run shows on standard error."""

from __future__ import annotations

import pytest

from bloodsearch.search.api.events import Notice, RunEnded, RunStarted
from bloodsearch.search.cli import output
from bloodsearch.search.cli.progress import Screen
from bloodsearch.search.cli.suggest import command, where


def test_json_keeps_warnings_alone(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(quiet=True)
    screen(Notice("4 workers"))
    screen(Notice("a worker died", warning=True))
    assert capsys.readouterr().err == "bloodsearch: a worker died\n"


def test_the_bar_is_gone_when_the_run_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C left two halves of it."""
    monkeypatch.setattr(output.stderr, "_force_terminal", True)
    screen = Screen(quiet=False)
    screen(RunStarted("tiny", "trial", 0, 4))
    assert screen._bar is not None
    assert screen._bar.live.transient
    screen(RunEnded("tiny", "trial", 2, 4))
    assert screen._bar is None


def test_suggested_commands_can_be_pasted() -> None:
    arguments = where("my study.toml", "sqlite:///it's here.db", "x")
    assert command("leaderboard", *arguments) == (
        "bloodsearch leaderboard 'my study.toml' --storage 'sqlite:///it'\"'\"'s here.db' --name x"
    )
    assert command("status", *where("bloodmnist", None)) == "bloodsearch status"
