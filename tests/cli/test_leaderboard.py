"""The leaderboard as CSV."""

from __future__ import annotations

import csv
import io

import pytest

from bloodsearch.search.cli.leaderboard import _write_csv


def test_a_parameter_called_as_a_column_gets_a_column_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A baseline has epochs of its own among its parameters, and trained fewer."""
    columns = ("number", "value", "state", "family", "baseline", "seconds", "n_parameters")
    row = dict.fromkeys(columns, 0) | {"epochs": 12, "params": {"epochs": 40, "lr": 0.1}}
    _write_csv([row])
    (found,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (found["epochs"], found["param_epochs"], found["lr"]) == ("12", "40", "0.1")
