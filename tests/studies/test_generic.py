"""The generic study fits its data."""

from __future__ import annotations

import pytest

from bloodsearch.models import Shape
from bloodsearch.search.sampling.grid import finite_points
from bloodsearch.search.sampling.space import to_config
from bloodsearch.studies import generic_study, load_study_file
from bloodsearch.studies.generic import N_IMAGES


def test_its_values_are_those_of_the_file_at_their_own_size() -> None:
    fitted = generic_study("generic", "", n_train=N_IMAGES, size=28)
    assert fitted.space_hash() == load_study_file("generic").space_hash()


def test_epochs_fall_with_the_number_of_images() -> None:
    epochs = [
        generic_study("x", "x", n_train=n, size=28).training.epochs_of("cnn")
        for n in (10, 546, 12_000, 90_000, 1_000_000)
    ]
    assert epochs == sorted(epochs, reverse=True)
    assert epochs[1:4] == [23, 5, 2]


@pytest.mark.parametrize("size", [4, 5, 8, 16, 28, 32, 63, 64, 128, 224, 512])
@pytest.mark.parametrize("n_train", [2, 546, 200_000])
def test_its_deepest_and_shallowest_cnn_fit_any_size(size: int, n_train: int) -> None:
    file = generic_study("x", "x", n_train=n_train, size=size)
    point = {"arch": "cnn", "optimizer": "adamw", "lr": 1e-3, "cnn_stem": file.largest("cnn_stem"),
             "cnn_width": 16}  # fmt: skip
    for blocks in (file.least("cnn_blocks"), file.largest("cnn_blocks")):
        shape = Shape(size=size, channels=1, classes=2)
        config = to_config(
            point | {"cnn_blocks": int(blocks), "cnn_stem": int(file.largest("cnn_stem"))},  # type: ignore[arg-type]
            epochs=1, patience=0, shape=shape,
        )  # fmt: skip
        assert config.model.feature_size >= 1  # type: ignore[union-attr]
    assert finite_points(file) is None
    assert ("mlp" in file.families()) == (size < 64)


def test_where_trials_are_judged_by_folds_final_trainings_are_as_long() -> None:
    training = generic_study("x", "x", n_train=546, size=28, folded=True).training
    assert training.final_epochs_of("cnn") == training.epochs_of("cnn") == 23
    assert training.final_epochs_of("mlp") == training.epochs_of("mlp")
