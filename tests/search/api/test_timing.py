"""Measuring the speed of this machine."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
from tests_support import small_set

from bloodsearch.search.api.placement import Placement
from bloodsearch.search.api.timing import epoch_seconds
from bloodsearch.search.data.load import dataset_info
from bloodsearch.search.errors import BloodsearchError
from bloodsearch.search.sampling.space import Params, to_config
from bloodsearch.search.training import timing
from bloodsearch.search.training.config import TrialConfig

MLP = to_config({"arch": "mlp", "optimizer": "adam", "lr": 1e-3}, epochs=3, patience=0)

pytestmark = pytest.mark.slow


def test_a_large_model_takes_longer_than_a_small_one() -> None:
    base: Params = {"arch": "mlp", "optimizer": "adam", "lr": 1e-3, "mlp_depth": 3}
    configs = [to_config(base | {"mlp_width": width}, epochs=3, patience=0) for width in (8, 2048)]
    slots = Placement(workers=2).slots(1)
    with small_set():
        small, large = epoch_seconds(configs, slots, dataset="synthetic")
    assert 0 < small < large / 3


def ask(monkeypatch: pytest.MonkeyPatch, n_folds: int, *configs: TrialConfig) -> None:
    request = {"threads": 1, "device": "cpu", "dataset": "synthetic", "data_root": None,
               "n_folds": n_folds, "configs": [c.model_dump(mode="json") for c in configs]}  # fmt: skip
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(request)))


def test_what_disturbs_the_machine_for_a_moment_does_not_count(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    times = iter([9.0, 2.0, 1.0, 8.0, 1.5, 1.0])  # two configurations, three times
    monkeypatch.setattr(timing, "epoch_seconds", lambda config, data: next(times))
    with small_set():
        ask(monkeypatch, 0, MLP, MLP)
        timing.main()
    assert json.loads(capsys.readouterr().out)["seconds"] == [1.5, 2.0]


def test_an_epoch_of_folds_is_one_of_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(timing, "epoch_seconds", lambda config, data: float(len(data.train_labels)))
    with small_set():
        seconds = []
        for n_folds in (0, 5):
            ask(monkeypatch, n_folds, MLP)
            timing.main()
            seconds += json.loads(capsys.readouterr().out)["seconds"]
    info = dataset_info("synthetic")
    assert seconds[1] / seconds[0] == pytest.approx(info.n_trained(5) / info.n_trained(0), rel=0.01)


def test_a_child_that_fails_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        BloodsearchError, match=r"could not be measured: .*bloodmnist.npz is not in"
    ):
        epoch_seconds([MLP], Placement(workers=1).slots(1), data_root=tmp_path)
