"""Points counted without listing them."""

from __future__ import annotations

import pytest

from bloodsearch.search.sampling.grid import continuous, count_points, grid
from bloodsearch.studies import load_study_file, parse_study

BASE = {"name": "mine", "training": {"epochs": 3, "final_epochs": 3}}
SPACE = {
    "arch": ["mlp", "cnn"],
    "optimizer": ["adam", "sgd"],
    "lr": [1e-3, 1e-2, 1e-1],
    "sgd_lr": [0.1, 0.2],
    "sgd_nesterov": [False, True],
    "mlp_width": {"low": 8, "high": 32, "step": 8},
    "cnn_convs": [1, 2],
    "cnn_residual": [False, True],
    "loss": ["cross_entropy", "focal"],
    "focal_gamma": [1.0, 2.0],
}


def test_conditions_count() -> None:
    study = parse_study(BASE | {"space": SPACE}, "mine")
    assert count_points(study) == len(grid(study)) == (3 + 4) * (4 + 1 + 2) * 3


def test_a_continuous_parameter_counts_once() -> None:
    space = SPACE | {"lr": {"low": 1e-4, "high": 1e-1, "log": True}}
    study = parse_study(BASE | {"space": space}, "mine")
    assert continuous(study) == ["lr"]
    assert count_points(study) == (1 + 4) * (4 + 1 + 2) * 3


@pytest.mark.parametrize("name", ["report_a", "report_b"])
def test_a_grid_that_ships(name: str) -> None:
    study = load_study_file(name)
    if study.search.sampler == "grid":
        assert count_points(study) == len(grid(study))
