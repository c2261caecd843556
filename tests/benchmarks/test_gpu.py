"""The benchmark of a CUDA device, with its functions on the CPU."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import __main__ as main
from benchmarks import gpu
from benchmarks.common import spread
from bloodsearch.models import MLPConfig
from bloodsearch.search.data.info import Fingerprint
from bloodsearch.search.data.load import Dataset
from bloodsearch.search.data.synthetic import make_split
from bloodsearch.search.training.config import LossConfig, OptimizerConfig, TrialConfig

TINY = TrialConfig(
    model=MLPConfig(widths=(8,)),
    optimizer=OptimizerConfig(name="adam", lr=1e-3),
    loss=LossConfig(name="weighted_cross_entropy"),
    batch_size=64,
    epochs=2,
)
SPLITS = Dataset(
    *make_split("train", 128), *make_split("val", 64), Fingerprint("synthetic", "synthetic", "tiny")
)


def test_epochs_are_timed_without_the_first() -> None:
    ours = gpu.our_epochs(TINY, SPLITS, "cpu", cuda_graph=True)
    standard = gpu.standard_epochs(TINY, SPLITS, "cpu")
    assert ours["n"] == standard["n"] == 1
    assert min(ours["min"], standard["min"]) > 0


def test_nothing_is_launched_on_a_device_by_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu.launches_a_step(TINY, SPLITS, "cpu", cuda_graph=False) == 0
    monkeypatch.setattr(gpu, "LAUNCHES", ("aten::cross_entropy_loss",))
    # two training steps, and the validation loss
    assert gpu.launches_a_step(TINY, SPLITS, "cpu", cuda_graph=False) == 1.5


@pytest.mark.parametrize(("target", "reached"), [(0.0, True), (1.1, False)])
def test_seconds_to_a_score(target: float, reached: bool) -> None:
    ours = gpu.seconds_to(target, TINY, SPLITS, 0, "cpu", cuda_graph=False)
    standard = gpu.standard_seconds_to(target, TINY, SPLITS, 0, "cpu")
    assert (ours is not None) == (standard is not None) == reached


def test_trials_an_hour_of_workers_that_share_a_device(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Any] = []
    written = tmp_path / "written"
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\nprintf '40\\n[N/A]\\n60\\n'\ntouch {written}\nexec sleep 60\n")
    command.chmod(0o755)

    def optimize(study: str, **options: Any) -> SimpleNamespace:
        asked.append(options["placement"])
        while not written.exists():
            time.sleep(0.01)
        return SimpleNamespace(complete=3, pruned=2, elapsed_seconds=60.0)

    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(gpu, "optimize", optimize)
    found = gpu.trials_an_hour("demo", "cpu", 2, seconds=60.0)
    assert found["trials_an_hour"] == 300
    assert found["utilization"] == 50
    assert found["workers"] == len(asked[0].slots(1)) == 2


def test_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(gpu, "table", lambda title, columns, rows: shown.append((columns, rows)))
    shared = {
        "workers": 2,
        "threads": 8,
        "finished": 5,
        "trials_an_hour": 300.0,
        "utilization": None,
    }
    gpu.show(
        "a device",
        {"A CNN": spread([2.0])},
        {
            ("A CNN", False): spread([0.5]) | {"launches": 100.0},
            ("A CNN", True): spread([0.1]) | {"launches": 3.0},
        },
        [None],
        {False: [0.9, None, 0.7], True: [0.3] * 3},
        [shared],
    )
    assert [row[-2:] for row in shown[0][1]] == [["4.0x", "100"], ["20.0x", "3"]]
    assert [row[-1] for row in shown[1][1]] == ["2 of 3", "3 of 3", "0 of 1"]
    assert all(len(row) == len(columns) for columns, rows in shown for row in rows)


def test_without_a_device_it_says_so_and_all_benchmarks_leave_it_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("sys.argv", ["benchmarks", "gpu"])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == "the benchmark gpu needs a CUDA device: torch sees none\n"
    assert "gpu" not in main.NAMES
