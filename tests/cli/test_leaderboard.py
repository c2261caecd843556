"""The leaderboard: one line a trial on a screen, and as CSV."""

from __future__ import annotations

import csv
import io

import pytest
from report_support import fake_trial
from tests_support import tiny

from bloodsearch.search.cli import main, output
from bloodsearch.search.cli.leaderboard import _weights, _write_csv
from bloodsearch.search.database.storage import Storage


def test_a_parameter_called_as_a_column_gets_a_column_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A baseline has epochs of its own among its parameters, and trained fewer."""
    columns = ("number", "value", "state", "family", "baseline", "seconds", "n_parameters")
    row = dict.fromkeys(columns, 0) | {"epochs": 12, "params": {"epochs": 40, "lr": 0.1}}
    _write_csv([row])
    (found,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (found["epochs"], found["param_epochs"], found["lr"]) == ("12", "40", "0.1")


def shown(
    args: list[str],
    columns: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> list[str]:
    monkeypatch.setenv("COLUMNS", str(columns))
    with pytest.raises(SystemExit) as ended:
        main(args)
    out, err = capsys.readouterr()
    assert not ended.value.code, err
    return out.splitlines()


@pytest.mark.parametrize("columns", [80, 40])
def test_a_trial_is_one_line(
    columns: int,
    sqlite_storage: Storage,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    study = tiny(sqlite_storage)
    for number in range(4):
        fake_trial(study, number, 0.5 + number / 100)
    fake_trial(study, 4, 0.9, baseline="A-cnn", n_parameters=241_864)
    args = ["leaderboard", "tiny", "--storage", sqlite_storage.full_url]
    lines = shown(args, columns, monkeypatch, capsys)
    head, *rows, hint = lines
    assert len(rows) == 5
    assert [int(row.split()[0]) for row in rows] == [4, 3, 2, 1, 0]
    assert all(len(line) <= columns for line in (head, *rows))
    assert "bloodsearch show 4 tiny --storage" in hint
    assert ("weights" in head) == (columns == 80)
    if columns == 80:
        assert rows[0].endswith("242k  baseline A-cnn")
        assert "lr=" in rows[1]
        assert "optimizer" not in rows[1], "all trials have it"


def test_a_study_without_a_trial_names_the_next_command(
    sqlite_storage: Storage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny(sqlite_storage)
    lines = shown(
        ["leaderboard", "tiny", "--storage", sqlite_storage.full_url], 80, monkeypatch, capsys
    )
    (line,) = lines
    assert "no finished trial yet; bloodsearch optimize --name tiny --storage" in line


def test_a_cut_table_keeps_its_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "24")
    output.cut_table(["n#", "what"], [(7, "x" * 40), (1234, "[b]y[/b]\x1b[2J")])
    assert capsys.readouterr().out.splitlines() == [
        "   n  what",
        "   7  " + "x" * 17 + "…",
        r"1234  [b]y[/b]\x1b[2J",
    ]


@pytest.mark.parametrize(
    ("n", "text"), [(None, "-"), (999, "999"), (53_600, "53.6k"), (241_864, "242k"), (2_417_672, "2.42M")]
)  # fmt: skip
def test_weights_in_three_digits(n: int | None, text: str) -> None:
    assert _weights(n) == text
