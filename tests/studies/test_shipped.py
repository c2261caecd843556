"""The study files that ship: all of them load, say what they claim, and start the search they name."""

from __future__ import annotations

from importlib import resources

import pytest

from bloodsearch.search.sampling.grid import grid
from bloodsearch.search.sampling.space import baseline_params, to_config
from bloodsearch.studies import DEFAULT_STUDY, load_study_file, shipped_names, shipped_text


def test_every_toml_file_of_the_package_is_shipped_and_the_default_comes_first() -> None:
    files = [
        f.name for f in resources.files("bloodsearch.studies").iterdir() if f.name.endswith(".toml")
    ]
    assert sorted(shipped_names()) == sorted(name.removesuffix(".toml") for name in files)
    assert shipped_names()[0] == DEFAULT_STUDY


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_file_loads_under_its_own_name(name: str) -> None:
    study = load_study_file(name)
    assert study.name == name
    assert study.description
    assert f'name = "{name}"' in shipped_text(name)


@pytest.mark.parametrize("name", shipped_names())
def test_every_baseline_makes_a_training_configuration(name: str) -> None:
    for baseline in load_study_file(name).baselines:
        config = to_config(baseline_params(baseline), epochs=3, patience=1)
        assert config.family == baseline.params["arch"]
        # a baseline may bring its own, the study's apply to the others
        assert config.epochs == baseline.params.get("epochs", 3)
        assert config.patience == baseline.params.get("patience", 1)


@pytest.mark.parametrize("name", shipped_names())
def test_every_space_holds_the_parameters_it_searches(name: str) -> None:
    study = load_study_file(name)
    if study.search.sampler == "grid":
        for params in grid(study):
            to_config(
                params,
                epochs=study.training.epochs_of(params["arch"]),
                patience=study.training.patience,
            )
    elif study.search.sampler == "baselines":
        assert study.space == {}
    else:
        assert {"arch", "optimizer"} <= set(study.space)


def test_the_reports_named_systems_are_all_baselines() -> None:
    a = {baseline.name for baseline in load_study_file("report_a").baselines}
    b = {baseline.name for baseline in load_study_file("report_b").baselines}
    assert {"A-mlp", "A-cnn", "A-cnn-ce"} <= a
    assert {f"A-{model}-sgd-{lr}" for model in ("mlp", "cnn") for lr in ("0.1", "0.001")} <= a
    assert b == {f"B-{model}-{i}" for model in ("mlp", "cnn") for i in range(1, 5)}
