"""The forecast of a search, with made-up times, and once with measured ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests_support import run_command, small_set

from bloodsearch.search.api import plan as planning
from bloodsearch.search.api.placement import Placement
from bloodsearch.search.api.plan import START_S, Plan, plan
from bloodsearch.search.api.request import SearchRequest
from bloodsearch.search.api.timing import PRUNED_SHARE, Measured
from bloodsearch.search.errors import UsageError

EPOCH_S = {"cnn": 4.0, "mlp": 1.0}
BASE: dict[str, Any] = {
    "name": "mine",
    "search": {"sampler": "random"},
    "training": {"epochs": {"cnn": 5, "mlp": 10}, "final_epochs": {"cnn": 60, "mlp": 200}},
    "pruner": {"name": "none"},
    "space": {"arch": ["cnn", "mlp"], "optimizer": "adam", "lr": [0.001, 0.01], "mlp_width": [8, 16]},
}  # fmt: skip


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let every CNN's epoch take 4 s and every MLP's 1 s; returns the numbers of configurations timed."""
    asked: list[int] = []

    def measure(configs: Sequence[Any], slots: Sequence[Any], **more: object) -> Measured:
        asked.append(len(configs))
        return Measured([EPOCH_S[c.family] for c in configs], 500.0, 0.0)

    monkeypatch.setattr(planning, "measure", measure)
    return asked


def forecast(study: dict[str, Any], trials: int | None, **more: Any) -> Plan:
    minutes = more.pop("minutes", None)
    request = SearchRequest(
        study=study, trials=trials, dataset="synthetic", placement=Placement("cpu", 2), **more
    )
    return plan(request, minutes=minutes)


def of_gray_images(folder: Path, *, n_train: int, n_val: int) -> SearchRequest:
    """A search on images of 8 x 8 pixels with two classes."""
    arrays: dict[str, Any] = {}
    for split, n in (("train", n_train), ("val", n_val), ("test", 20)):
        arrays[f"{split}_images"] = np.zeros((n, 8, 8), np.uint8)
        arrays[f"{split}_labels"] = (np.arange(n) % 2).astype(np.uint8)
    np.savez(folder / "cells.npz", **arrays)
    return SearchRequest(
        study=BASE | {"space": BASE["space"] | {"cnn_blocks": 2}},
        trials=4,
        dataset=str(folder / "cells.npz"),
        placement=Placement("cpu", 2),
    )


def test_a_trial_that_is_judged_by_folds_is_timed_on_all_of_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[object] = []

    def measure(configs: Sequence[Any], slots: Sequence[Any], **more: object) -> Measured:
        asked.append(more["n_folds"])
        return Measured([2.0] * len(configs), 500.0, 0.0)

    monkeypatch.setattr(planning, "measure", measure)
    found = plan(of_gray_images(tmp_path, n_train=60, n_val=20))
    assert asked == [5]
    second, final = found.stages["cnn"]
    assert second.seconds == 40 / 2 * 5 * 2.0
    # a final training has the training split alone: 60 images in an epoch, not 4 * 80
    assert final.seconds == pytest.approx(3 * 60 * 2.0 * 60 / 320)


def test_the_models_that_are_timed_take_the_images_of_the_data(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Gray images of 8 pixels with two classes: the default shape is that of BloodMNIST."""
    shapes: set[tuple[int, int, int]] = set()

    def measure(configs: Sequence[Any], slots: Sequence[Any], **more: object) -> Measured:
        shapes.update(
            (c.model.shape.size, c.model.shape.channels, c.model.shape.classes) for c in configs
        )
        return Measured([1.0] * len(configs), 500.0, 0.0)

    monkeypatch.setattr(planning, "measure", measure)
    found = plan(of_gray_images(tmp_path, n_train=600, n_val=600))
    assert shapes == {(8, 1, 2)}
    mlp = found.families[1]
    assert mlp.weights[1] < 3 * 8 * 28 * 28, "weights of a layer on larger images"


def test_a_random_search_takes_what_its_families_take(timed: list[int]) -> None:
    found = forecast(BASE, 40)
    cnn, mlp = found.families
    assert (cnn.family, cnn.epochs, cnn.epoch_s, cnn.trial_s) == ("cnn", 5, 4.0, 20.0)
    assert (mlp.family, mlp.epochs, mlp.trial_s) == ("mlp", 10, 10.0)
    assert cnn.share + mlp.share == 1.0
    assert timed == [16]
    expected = 40 / 2 * (cnn.share * 20 + mlp.share * 10) + START_S
    assert found.search_s == pytest.approx((expected, expected))
    assert found.n_configurations == 2 + 4
    assert found.continuous == []
    (line,) = found.does_not_fit
    assert "40 trials: the space has 6 configurations" in line


def test_tpe_may_choose_the_slowest_family_and_pruning_shortens(timed: list[int]) -> None:
    study = BASE | {
        "search": {"sampler": "tpe", "startup_trials": 10},
        "pruner": {"name": "family"},
    }
    found = forecast(study, 100)
    cnn, mlp = found.families
    as_drawn = cnn.share * 20 + mlp.share * 10
    low, high = found.search_s
    assert low == pytest.approx(100 * as_drawn * PRUNED_SHARE / 2 + START_S)
    assert high == pytest.approx((10 * as_drawn + 90 * 20) / 2 + START_S)
    final = found.stages["cnn"][-1]
    assert (final.n_trainings, final.epochs, final.seconds) == (5, (60,), 3 * 60 * 4.0)


def test_a_baseline_is_never_shorter_than_itself(timed: list[int]) -> None:
    params = {"arch": "cnn", "optimizer": "adam", "lr": 0.001, "epochs": 40}
    found = forecast(BASE | {"baselines": [{"name": "A", "params": params}]}, 2)
    assert found.baselines[0].epochs == 40
    assert found.search_s[0] >= 160.0


def test_what_does_not_fit_is_told(timed: list[int]) -> None:
    found = forecast(BASE, 4, minutes=0.1, max_params=100)
    text = "\n".join(found.does_not_fit)
    assert "may need more than 0.1 minutes" in text
    assert "exceed 100 weights" in text
    assert found.trials_in_time is not None
    most, least = found.trials_in_time
    assert 0 <= least <= most < 4


def test_a_plan_needs_a_budget(timed: list[int]) -> None:
    with pytest.raises(UsageError, match="--trials is missing"):
        forecast(BASE, None)
    assert not timed


@pytest.mark.slow
def test_the_command_measures_and_writes_nothing(tmp_path: Path) -> None:
    words = ["plan", "demo", "--trials", "3", "--workers", "1", "--no-baselines"]
    words += ["--arch", "mlp", "--set", "space.mlp_width=[8, 16]", "--dataset", "synthetic"]
    with small_set():
        found = json.loads(run_command(*words, "--json", cwd=tmp_path).stdout)
    assert found["families"][0]["epoch_s"] > 0
    assert 0 < found["search_s"][0] <= found["search_s"][1]
    assert found["worker_mb"] > 100
    assert not list(tmp_path.iterdir())
