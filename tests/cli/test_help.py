"""What `--help` shows: whole summaries, plain usage, and --debug everywhere."""

from __future__ import annotations

import pytest

from bloodsearch.search.cli import main
from bloodsearch.search.cli.commands import COMMANDS

NAMES = [[name] for name, _, _ in COMMANDS] + [["studies", "show"], ["studies", "new"]]
NAMES += [["data", "fetch"], ["data", "describe"], ["studies"]]


def help_of(args: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*args, "--help"])
    assert not ended.value.code
    return capsys.readouterr().out


def test_no_summary_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    assert "..." not in help_of([], capsys).split("Commands:")[1]


@pytest.mark.parametrize("args", NAMES, ids=" ".join)
def test_usage_and_debug(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(args, capsys)
    assert "[[" not in text
    assert "--debug" in text
    assert "<float" not in text, "a number with a unit has a metavar"


def test_a_study_of_my_own_is_shown(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    for args in (["new", "mine.toml"], ["show", "mine.toml"]):
        with pytest.raises(SystemExit) as ended:
            main(["studies", *args])
        assert not ended.value.code
    assert 'name = "mine"' in capsys.readouterr().out
