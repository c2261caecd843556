"""Data other than BloodMNIST from the search to a prediction: each task, gray and RGB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worker_here import worker_here

from bloodsearch import export, final_eval, load_study, optimize, predict, report
from bloodsearch.search.data.info import FileInfo
from bloodsearch.search.study import info
from bloodsearch.search.trial.replay import replay_trial

STUDY: dict[str, Any] = {
    "name": "tiny",
    "training": {"epochs": 2, "final_epochs": 2},
    "pruner": {"name": "none"},
    "space": {
        "arch": ["cnn", "mlp"], "optimizer": "adamw", "lr": {"low": 1e-3, "high": 1e-2, "log": True},
        "batch_size": 16, "mlp_width": 16, "cnn_width": 4, "cnn_blocks": [1, 2], "cnn_norm": True,
        "augment": "flips", "shift": 1,
    },
}  # fmt: skip
SIZES = {"train": 60, "val": 24, "test": 30}


@pytest.fixture(autouse=True)
def _here() -> Iterator[None]:
    with worker_here():
        yield


def write(path: Path, *, side: int, channels: int, description: FileInfo) -> str:
    """Write images whose brightness tells the class."""
    rng = np.random.default_rng(0)
    shape = (side, side) if channels == 1 else (side, side, 3)
    n_classes = len(description.classes)
    arrays: dict[str, Any] = {"info": np.frombuffer(description.encode(), np.uint8)}
    for split, n in SIZES.items():
        labels = np.arange(n) % n_classes
        noise = rng.integers(0, 60, (n, *shape))
        level = (labels * (190 // n_classes)).reshape(-1, *[1] * len(shape))
        arrays[f"{split}_images"] = (noise + level).astype(np.uint8)
        arrays[f"{split}_labels"] = labels
    np.savez_compressed(path, **arrays)
    return str(path)


@pytest.mark.slow
def test_gray_ordinal_data_from_the_search_to_a_prediction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    classes = ("mild", "bad", "worse")
    described = FileInfo(title="Our scans", task="ordinal", classes=classes, crop="whole")
    path = write(tmp_path / "scans.npz", side=12, channels=1, description=described)
    where: dict[str, Any] = {"storage": "sqlite:///any.db", "name": "scans"}
    said: list[str] = []
    search = optimize(
        STUDY, trials=2, dataset=path, on_progress=lambda e: said.append(str(e)), **where
    )
    assert search.best_value is not None
    assert any("24 validation images" in line and "5 folds of the 84" in line for line in said)
    stored = load_study(**where)
    facts = info(stored.study)
    assert (facts.n_folds, facts.n_judged) == (5, 84)
    assert facts.dataset.classes == classes
    again = replay_trial(
        stored.trial(0), facts, data_root=None, device="cpu", on_epoch=lambda *row: None
    )
    assert again.identical
    assert facts.fingerprint.describe() == "Our scans (own data)"

    final = final_eval(replicates=2, finalists=2, rounds=1, **where)
    assert final.test_quadratic_kappa is not None
    assert [c.name for c in final.per_class] == list(classes)
    assert np.sum(final.confusion_matrix) == 2 * SIZES["test"]
    assert final.published_28x28 == {}
    assert (tmp_path / "scans.openings.jsonl").read_text().count("\n") == 1

    model = export(out="scans.onnx", **where)
    done = predict(path, model=model.out, key="val_images")
    assert done.classes == classes
    assert len(done.predictions) == SIZES["val"]
    assert done.provenance["preparation"]["crop"] == "whole"
    assert done.provenance["preparation"]["channels"] == 1

    page = report(out="report", **where)
    text = (tmp_path / "report" / "model-card.md").read_text()
    assert "a gray image of 12 x 12 pixels" in text
    assert "mild, bad, worse" in text
    assert "Acevedo" not in text
    assert page.files


@pytest.mark.slow
def test_binary_rgb_data_without_a_study_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    described = FileInfo(classes=("no", "yes"))
    write(tmp_path / "cells.npz", side=8, channels=3, description=described)
    search = optimize(
        trials=1,
        dataset="cells.npz",
        storage="sqlite:///any.db",
        overrides={"search.folds": 0},
        epochs=1,
    )
    assert search.study == "cells"
    stored = load_study("cells", storage="sqlite:///any.db")
    facts = info(stored.study)
    assert (facts.dataset.task, facts.n_folds, facts.n_judged) == ("binary", 0, 24)
    assert facts.study_file.dataset == "cells.npz"
    assert facts.study_file.largest("cnn_blocks") == 3  # a fourth would halve one pixel
