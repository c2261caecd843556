"""What the course reports leave unsaid: stop rules read from curves, trainings that resume."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks import common, unsaid, unsaid_tested
from benchmarks.unsaid import Published, Reading, configurations, kept_epoch, key, readings, work
from bloodsearch.studies import parse_study

CURVES = {
    "loss": [1.0, 0.5, 0.6, 0.7, 0.4],
    "accuracy": [0.1, 0.2, 0.9, 0.3, 0.4],
    "macro_f1": [0.1, 0.8, 0.3, 0.4, 0.5],
    "weighted_f1": [0.1, 0.2, 0.3, 0.4, 0.5],
}


@pytest.mark.parametrize(
    ("reading", "epoch"),
    [
        (Reading(2, "loss", "best"), 2),
        (Reading(2, "loss", "last"), 4),
        (Reading(2, "accuracy", "last"), 5),
        (Reading(1, "accuracy", "best"), 3),
        (Reading(3, "macro_f1", "last"), 5),
        (Reading(None, "loss", "last"), 5),
        (Reading(None, "loss", "best"), 5),
        (Reading(None, "accuracy", "best"), 3),
    ],
)
def test_the_weights_that_a_stop_rule_keeps(reading: Reading, epoch: int) -> None:
    assert kept_epoch(CURVES, reading) == epoch


def test_every_way_to_stop_is_there_once() -> None:
    ways = readings()
    assert len(ways) == len(set(ways)) == 3 * 3 * 2 + 1 + 3
    assert len(set(map(str, ways))) == len(ways)


def test_configurations_with_nll_are_not_trained_again() -> None:
    names = {c.name for c in configurations()}
    assert {f"B-{family}-{i}" for family in ("mlp", "cnn") for i in range(1, 5)} <= names
    assert {"A-mlp", "A-cnn", "A-cnn-ce"} <= names
    tasks = list(work(configurations(), {}, 3))
    assert len(tasks) == len(set(tasks)) == 3 * 3 * (len(names) - 4)
    assert [seed for _, _, seed in tasks] == sorted(seed for _, _, seed in tasks)
    assert list(work(configurations(), {key(*task): {} for task in tasks}, 3)) == []


def fake(diverged: bool = False, **curves: list[float]) -> dict[str, Any]:
    return {**CURVES, **curves, "diverged": diverged, "cpu_seconds": 1.0}


def test_a_slice_ends_in_time_and_the_next_one_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    runs: unsaid.Runs = {}
    trained: list[tuple[str, int, int]] = []

    def train_one(*task: Any) -> dict[str, Any]:
        trained.append(task)
        return fake()

    tasks = list(work(configurations()[:2], runs, 1))
    unsaid.train(tasks, runs, train_one, until=time.monotonic() - 1, workers=1)
    assert not trained
    unsaid.train(tasks[:2], runs, train_one, until=math.inf, workers=1)
    stored = json.loads((tmp_path / "unsaid.json").read_text())["result"]
    assert list(work(configurations()[:2], stored, 1)) == tasks[2:]


def test_a_figure_that_one_seed_of_two_reaches_is_said_to_be_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[list[list[Any]]] = []
    monkeypatch.setattr(unsaid, "table", lambda title, columns, rows: shown.append(rows))
    one = Published("A-mlp", {}, "macro_f1", 0.85)
    low = fake(macro_f1=[0.8] * 5)
    runs = {
        key("A-mlp", 32, 0): fake(macro_f1=[0.9] * 5),
        key("A-mlp", 32, 1): low,
        key("A-mlp", 64, 0): low,
        key("A-mlp", 64, 1): fake(diverged=True),
    }
    unsaid.show(runs, [one], 2)
    (row,) = shown[0]
    n = len(readings())
    assert row[3] == "0.8500"  # the mean of 0.9 and 0.8 at batch 32
    assert row[5] == 2
    assert row[7:] == [f"{n} of {2 * n}", f"{n} of {3 * n}"]


def test_other_data_do_not_get_into_the_same_file(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        unsaid.main(["--dataset", "synthetic"])
    assert "--results" in capsys.readouterr().err


def test_the_settings_are_chosen_of_those_that_bloodsearch_has() -> None:
    """The best of all watches accuracy; the best that bloodsearch can train stops after one epoch."""
    one = Published("A-mlp", {}, "macro_f1", 0.85)
    accuracy, macro_f1 = [0.1, 0.1, 0.1, 0.9, 0.1], [0.6, 0.5, 0.5, 0.55, 0.5]
    runs = {key("A-mlp", batch, 0): fake(macro_f1=[0.1] * 5) for batch in (32, 64)}
    runs[key("A-mlp", 128, 0)] = fake(accuracy=accuracy, macro_f1=macro_f1)
    batch, reading = unsaid.chosen(runs, [one], 1)
    assert (batch, reading.watched, reading.kept) == (128, "macro_f1", "best")
    assert unsaid.complete(runs, [one], 1) == [one]
    assert unsaid.complete(runs, [one], 2) == []


def test_the_tested_study_trains_each_twin_once(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [one for one in configurations() if one.name in unsaid_tested.MISSED]
    assert len(wanted) == 9
    file = parse_study(unsaid_tested.study(wanted, 64, Reading(None, "macro_f1", "best")), "x")
    names = [baseline.name for baseline in file.baselines]
    assert names == ["A-cnn", "B-mlp-1", "B-mlp-2", "B-cnn-1", "B-cnn-2"]
    assert {baseline.params["batch_size"] for baseline in file.baselines} == {64}
    assert file.training.final_epochs_of("mlp") == file.training.epochs_of("cnn") == 100
    shown: list[list[list[Any]]] = []
    monkeypatch.setattr(unsaid_tested, "table", lambda title, columns, rows: shown.append(rows))
    scores = {"values": [0.9, 0.96, 0.9]}
    rows = [{"name": name, "test_macro_f1": scores, "test_weighted_f1": scores} for name in names]
    unsaid_tested.show({"configurations": rows}, wanted, "batch 64")
    (a,), b = shown
    assert a[-1] == "reached by 1 of 3 trainings alone"  # 0.92 of 0.938
    assert {row[0]: row[-1] for row in b}["B-mlp-3"] == "reached"
