"""From a study file to parameters to a training configuration, and what TPE sees of it."""

from __future__ import annotations

import random
import warnings
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FixedTrial, TrialState

from bloodsearch.models import CNNConfig, MLPConfig
from bloodsearch.search.errors import UsageError
from bloodsearch.search.sampling.grid import grid
from bloodsearch.search.sampling.sampler import trial_sampler
from bloodsearch.search.sampling.space import (
    Params,
    baseline_params,
    distribution,
    searched,
    suggest,
    to_config,
)
from bloodsearch.search.training.config import TrialConfig
from bloodsearch.studies import (
    PARAMETERS,
    Range,
    StudyFile,
    load_study_file,
    parse_study,
    shipped_names,
)

optuna.logging.set_verbosity(optuna.logging.WARNING)

SAMPLED = [name for name in shipped_names() if load_study_file(name).search.sampler == "tpe"]


def study_with(sampler: str = "tpe", **space: object) -> StudyFile:
    data = {
        "name": "mine",
        "search": {"sampler": sampler},
        "training": {"epochs": 3, "final_epochs": 3},
        "space": {"arch": ["mlp", "cnn"], "optimizer": "adam", "lr": 1e-3, **space},
    }
    return parse_study(data, "mine")


def config_of(**params: Any) -> TrialConfig:
    return to_config(
        {"arch": "mlp", "optimizer": "adam", "lr": 1e-3, **params}, epochs=3, patience=1
    )


# --- distributions ---


@pytest.mark.parametrize(
    ("name", "entry", "found"),
    [
        ("lr", 1e-3, None),
        ("lr", (1e-3,), None),
        ("lr", (1, 0.5), CategoricalDistribution((1.0, 0.5))),
        ("lr", Range(low=1e-4, high=1), FloatDistribution(1e-4, 1.0)),
        ("lr", Range(low=1e-4, high=1, log=True), FloatDistribution(1e-4, 1.0, log=True)),
        ("mlp_dropout", Range(low=0, high=0.5, step=0.25), FloatDistribution(0, 0.5, step=0.25)),
        ("mlp_width", Range(low=16, high=64, log=True), IntDistribution(16, 64, log=True)),
        ("shift", Range(low=0, high=4, step=2), IntDistribution(0, 4, step=2)),
        ("cnn_norm", (False, True), CategoricalDistribution((False, True))),
        ("loss", "nll", None),
    ],
)
def test_distribution(name: str, entry: Any, found: Any) -> None:
    assert distribution(name, entry) == found


# --- suggest ---


def test_what_is_fixed_is_in_the_parameters_but_not_asked_for() -> None:
    study = study_with(mlp_width=64, mlp_depth=[1, 2], cnn_width=[8, 16], shift=[3])
    trial = FixedTrial({"arch": "mlp", "mlp_depth": 2})
    params = suggest(trial, study)
    assert params == {
        "arch": "mlp",
        "optimizer": "adam",
        "lr": 1e-3,
        "shift": 3,
        "mlp_depth": 2,
        "mlp_width": 64,
    }
    assert set(trial.params) == {"arch", "mlp_depth"}
    assert type(params["lr"]) is float


@pytest.mark.parametrize(
    ("chosen", "extra"),
    [
        ({"arch": "mlp", "optimizer": "adam"}, {"lr", "mlp_width", "mlp_depth"}),
        ({"arch": "mlp", "optimizer": "sgd"}, {"sgd_lr", "sgd_nesterov", "mlp_width", "mlp_depth"}),
        ({"arch": "cnn", "optimizer": "adam", "cnn_convs": 1}, {"lr", "cnn_width"}),
        (
            {"arch": "cnn", "optimizer": "adam", "cnn_convs": 2},
            {"lr", "cnn_width", "cnn_residual"},
        ),
        (
            {"arch": "mlp", "optimizer": "adam", "loss": "focal"},
            {"focal_gamma", "lr", "mlp_width", "mlp_depth"},
        ),
    ],
)
def test_every_parameter_of_the_path_is_suggested_and_no_other(
    chosen: Params, extra: set[str]
) -> None:
    space: dict[str, Any] = {
        "optimizer": ["adam", "sgd"],
        "lr": [1e-3, 1e-2],
        "sgd_lr": [0.1, 0.2],
        "sgd_nesterov": [False, True],
        "loss": ["cross_entropy", "focal"],
        "label_smoothing": [0.0, 0.1],
        "focal_gamma": [1.0, 2.0],
        "mlp_depth": [1, 2],
        "mlp_width": [8, 16],
        "cnn_width": [8, 16],
        "cnn_convs": [1, 2],
        "cnn_residual": [False, True],
    }
    study = study_with(**space)
    chosen = {"loss": "cross_entropy", **chosen}
    if chosen["loss"] == "cross_entropy":
        extra = extra | {"label_smoothing"}
    values = {name: chosen.get(name, entry[0]) for name, entry in space.items()} | chosen
    trial = FixedTrial(values)
    params = suggest(trial, study)
    assert set(params) == {*chosen, *extra}
    assert set(trial.params) == set(params)
    to_config(params, epochs=1, patience=0)


@pytest.mark.parametrize("name", SAMPLED)
def test_random_points_of_a_shipped_study_are_configurations(name: str) -> None:
    study_file = load_study_file(name)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    families, training = set(), study_file.training
    for _ in range(200):
        trial = study.ask()
        params = suggest(trial, study_file)
        config = to_config(
            params, epochs=training.epochs_of(params["arch"]), patience=training.patience
        )
        families.add(config.family)
        # no default had to stand in for a parameter that the space has
        for parameter, condition in PARAMETERS.items():
            exists = all(
                params.get(other, PARAMETERS[other].default) in values
                for other, values in condition.when.items()
            )
            assert (parameter in params) == (exists and parameter in study_file.space)
        # Optuna saw exactly what is searched
        assert trial.params == searched(params, study_file)
    assert families == {"mlp", "cnn"}


# 28 pixels can be halved four times, or twice behind a stem of 4
@pytest.mark.parametrize(("stems", "blocks"), [([1], [1, 4]), ([1, 2, 4], [1, 2])])
def test_random_points_of_any_space_within_the_bounds_are_configurations(
    stems: list[int], blocks: list[int]
) -> None:
    """Every parameter over all its choices, or between its bounds: the corners included."""
    rng = random.Random(0)
    space: dict[str, Any] = {}
    for name, parameter in PARAMETERS.items():
        if parameter.choices:
            space[name] = list(parameter.choices)
        elif parameter.kind is bool:
            space[name] = [False, True]
        else:
            space[name] = [parameter.kind(parameter.low), parameter.kind(parameter.high)]
    space |= {"cnn_width": [1, 128], "lr": {"low": 1e-7, "high": 10, "log": True}}  # 128 * 4**3
    space |= {"cnn_stem": stems, "cnn_blocks": blocks}
    study_file = study_with(**space)
    for _ in range(500):
        values = {
            name: rng.choice(entry) if isinstance(entry, list) else 1e-3
            for name, entry in space.items()
        }
        params = suggest(FixedTrial(values), study_file)
        to_config(params, epochs=1, patience=0)


# --- grid ---


def test_a_grid_has_every_distinct_point_once() -> None:
    study = study_with(
        "grid",
        loss=["cross_entropy", "focal"],
        focal_gamma=[1, 2],
        mlp_width=[8, 16, 32],
        cnn_width=[8, 16],
        batch_size=64,
    )
    points = grid(study)
    # (cross_entropy + focal with two exponents) times (three MLPs + two CNNs)
    assert len(points) == 3 * 5
    assert len({repr(sorted(point.items())) for point in points}) == 15
    assert study.grid_size() == 2 * 2 * 2 * 3 * 2  # conditions not counted
    for point in points:
        assert ("focal_gamma" in point) == (point["loss"] == "focal")
        assert ("mlp_width" in point) == (point["arch"] == "mlp")
        assert point["batch_size"] == 64
        to_config(point, epochs=1, patience=0)
    assert {type(point["focal_gamma"]) for point in points if "focal_gamma" in point} == {float}


def test_the_grid_of_report_a() -> None:
    points = grid(load_study_file("report_a"))
    # losses x batch sizes x (optimizer, lr) x (MLPs + CNNs); its epochs are those of one training
    assert len(points) == 2 * 2 * (3 * 2) * (2 + 2)
    assert len({config.digest() for config in map(grid_config, points)}) == len(points)


def grid_config(point: Params) -> TrialConfig:
    return to_config(point, epochs=40, patience=5)


def test_grid_points_are_all_shown_to_optuna() -> None:
    study = load_study_file("report_a")
    lists = {name for name, entry in study.space.items() if isinstance(entry, tuple)}
    for point in grid(study):
        assert searched(point, study) == {n: v for n, v in point.items() if n in lists}


# --- searched ---

MINE: dict[str, Any] = {
    "lr": {"low": 1e-4, "high": 1e-2},
    "mlp_width": [8, 16],
    "mlp_depth": {"low": 1, "high": 3},
    "cnn_width": [8, 16],
    "batch_size": 64,
}
INSIDE: Params = {"arch": "mlp", "optimizer": "adam", "lr": 1e-3, "mlp_width": 8, "batch_size": 64}


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({}, {"arch": "mlp", "lr": 1e-3, "mlp_width": 8, "mlp_depth": 1}),
        ({"lr": 1e-2}, {"arch": "mlp", "lr": 1e-2, "mlp_width": 8, "mlp_depth": 1}),
        # out of the space: nothing is shown rather than a part
        ({"lr": 0.5}, {}),
        ({"mlp_width": 9}, {}),
        # another network: the space omits a parameter that does not have its default
        ({"mlp_dropout": 0.3}, {}),
        ({"shift": 3}, {}),
        (
            {"mlp_dropout": 0.0, "epochs": 9},
            {"arch": "mlp", "lr": 1e-3, "mlp_width": 8, "mlp_depth": 1},
        ),
        ({"mlp_depth": 4}, {}),
        ({"batch_size": 32}, {}),  # not the fixed value
        ({"optimizer": "sgd", "sgd_lr": 0.1}, {}),
        ({"lr": None}, {}),  # missing, and without a default
        ({"mlp_width": None}, {}),  # missing; the default 1024 is outside
        ({"batch_size": None}, {}),  # missing; the default 128 is not the fixed value
        # what does not exist on this path does not matter
        ({"cnn_width": 999}, {"arch": "mlp", "lr": 1e-3, "mlp_width": 8, "mlp_depth": 1}),
        ({"shift": 0}, {"arch": "mlp", "lr": 1e-3, "mlp_width": 8, "mlp_depth": 1}),
        ({"arch": "cnn", "cnn_width": 16}, {"arch": "cnn", "lr": 1e-3, "cnn_width": 16}),
    ],
)
def test_searched_is_all_of_a_point_or_nothing(changes: dict[str, Any], seen: Params) -> None:
    point = {k: v for k, v in {**INSIDE, **changes}.items() if v is not None}
    assert searched(point, study_with(**MINE)) == seen


def test_a_queued_point_is_suggested_as_it_was() -> None:
    study_file = study_with(**MINE)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    point = {**INSIDE, "mlp_depth": 3}
    study.enqueue_trial(searched(point, study_file))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        params = suggest(study.ask(), study_file)
    assert params == point


# --- configurations ---


@pytest.mark.parametrize("name", shipped_names())
def test_the_baselines_of_every_study_resolve(name: str) -> None:
    for baseline in load_study_file(name).baselines:
        config = to_config(baseline_params(baseline), epochs=4, patience=2)
        assert TrialConfig.model_validate(config.model_dump(mode="json")) == config


def test_report_as_cnn_is_what_the_report_describes() -> None:
    baselines = {b.name: b for b in load_study_file("report_a").baselines}
    config = to_config(baseline_params(baselines["A-cnn"]), epochs=40, patience=5)
    assert config.model == CNNConfig(widths=(32, 64, 128), hidden=(128,), dropout=0.3)
    assert (config.optimizer.name, config.optimizer.lr) == ("adam", 1e-3)
    assert config.loss.name == "weighted_cross_entropy"
    assert (config.batch_size, config.epochs, config.patience) == (128, 40, 5)
    assert (config.schedule, config.augment, config.shift) == ("constant", "none", 0)


def test_mlp_parameters() -> None:
    config = config_of(mlp_depth=3, mlp_width=20, mlp_dropout=0.25, mlp_norm=True)
    assert config.model == MLPConfig(widths=(20, 20, 20), dropout=0.25, norm=True)
    assert config_of(mlp_depth=0).model == MLPConfig(widths=())


def test_cnn_parameters() -> None:
    config = config_of(
        arch="cnn",
        cnn_blocks=4,
        cnn_width=10,
        cnn_growth=1.5,
        cnn_convs=2,
        cnn_residual=True,
        cnn_kernel=5,
        cnn_pool="avg",
        cnn_norm=True,
        cnn_head="mean",
        cnn_hidden="256-128",
        cnn_dropout=0.5,
    )
    assert config.model == CNNConfig(
        widths=(10, 15, 22, 34),
        convs=2,
        residual=True,
        kernel=5,
        pool="avg",
        norm=True,
        head="mean",
        hidden=(256, 128),
        dropout=0.5,
    )


def test_a_residual_exists_only_beside_a_second_convolution() -> None:
    # `cnn_residual = true` is a fixed value of the default study, `cnn_convs` is searched
    model = config_of(arch="cnn", cnn_convs=1, cnn_residual=True).model
    assert isinstance(model, CNNConfig)
    assert not model.residual


def test_nesterov_exists_only_with_a_momentum() -> None:
    sgd = {"optimizer": "sgd", "sgd_lr": 0.1, "sgd_nesterov": True}
    assert config_of(**sgd, sgd_momentum=0.5).optimizer.nesterov
    assert not config_of(**sgd, sgd_momentum=0.0).optimizer.nesterov


def test_min_epochs_zero_leaves_checkpoints_and_studies_valid() -> None:
    baselines = {b.name: b for b in load_study_file("report_a").baselines}
    params = baseline_params(baselines["A-cnn"])
    plain = to_config(params, epochs=40, patience=5)
    assert plain.digest() == "85dfda7e7978a247"  # as before there was a min_epochs
    assert to_config(params, epochs=40, patience=5, min_epochs=9).digest() != plain.digest()
    assert load_study_file("report_b").space_hash() == "10e190266aff40f2"


def test_epochs_and_patience_come_from_the_parameters_first() -> None:
    assert (config_of().epochs, config_of().patience) == (3, 1)
    searched_over = config_of(epochs=9, patience=4)
    assert (searched_over.epochs, searched_over.patience) == (9, 4)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"arch": "mlp", "optimizer": "adam"}, "parameter lr is missing; it takes a number in"),
        ({"arch": "mlp", "optimizer": "sgd"}, "parameter sgd_lr is missing"),
        ({"optimizer": "adam", "lr": 0.1}, 'parameter arch is missing; it takes one of "mlp"'),
        ({"arch": "cnn", "cnn_kernel": 4, "optimizer": "adam", "lr": 1}, "kernel"),
        (
            {"arch": "cnn", "cnn_width": 1024, "cnn_growth": 3.0, "optimizer": "adam", "lr": 1},
            "widths.2",
        ),
    ],
)
def test_parameters_that_make_no_configuration(params: Params, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        to_config(params, epochs=1, patience=0)
    assert "\n" not in str(caught.value)


# --- TPE ---


def test_tpe_models_each_familys_parameters_jointly_also_after_prunes() -> None:
    """The sampler's joint space is split by family, and neither prunes nor baselines shrink it.

    Without groups the joint space is what all trials share: no parameter of any family. With
    groups a trial that stops before all its parameters are suggested would split a group for good.
    """
    study_file = load_study_file("bloodmnist")
    study = optuna.create_study(direction="maximize")
    for baseline in study_file.baselines:
        study.enqueue_trial(searched(baseline_params(baseline), study_file))
    rng = random.Random(0)
    families: list[object] = []
    for number in range(30):
        study.sampler = trial_sampler(study_file, number)
        trial = study.ask()
        params = suggest(trial, study_file)
        families.append(params["arch"])
        for epoch in (1, 2):
            trial.report(rng.random(), epoch)
        if number % 3 == 0:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, rng.random())
    assert families.count("mlp") >= 5
    assert families.count("cnn") >= 5
    assert len(study.get_trials(states=(TrialState.PRUNED,))) == 10

    joint = study.sampler.infer_relative_search_space(study, study.trials[-1])
    searched_names = {
        name for name, entry in study_file.space.items() if distribution(name, entry) is not None
    }
    assert set(joint) == searched_names  # nothing is sampled independently
    groups = study.sampler._search_space_group.search_spaces  # type: ignore[union-attr]
    mlp = {name for name in searched_names if name.startswith("mlp_")}
    cnn = {name for name in searched_names if name.startswith("cnn_")}
    assert len(mlp) >= 4
    assert len(cnn) >= 5
    common = searched_names - mlp - cnn - {"lr", "sgd_lr"}
    alone = [{"lr"}, {"sgd_lr"}, {"cnn_residual"}]  # each has a condition of its own
    found = sorted(sorted(group) for group in groups)
    assert found == sorted(map(sorted, (common, mlp, cnn - {"cnn_residual"}, *alone)))


@pytest.mark.parametrize("name", SAMPLED)
def test_two_trials_and_two_seeds_have_samplers_of_their_own(name: str) -> None:
    study_file = load_study_file(name)
    other = load_study_file(name, ["search.seed=1"])

    def first_point(file: StudyFile, number: int) -> Params:
        study = optuna.create_study(sampler=trial_sampler(file, number))
        return suggest(study.ask(), file)

    assert first_point(study_file, 0) == first_point(study_file, 0)
    assert first_point(study_file, 0) != first_point(study_file, 1)
    assert first_point(study_file, 0) != first_point(other, 0)
