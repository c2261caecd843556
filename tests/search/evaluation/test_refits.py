"""Refits: on both splits, for a fixed number of epochs, and their last weights count."""

from __future__ import annotations

import numpy as np
from optuna.trial import FrozenTrial, TrialState, create_trial
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.data.load import joined, load_dataset
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.evaluation.long_trainings import long_file
from bloodsearch.search.evaluation.refits import refit_file, refit_study
from bloodsearch.search.study import create_or_resume, info
from bloodsearch.search.trial.objective import KEPT
from bloodsearch.studies import load_study_file


def test_where_patience_ended_the_replicates_a_refit_trains_as_long_on_average() -> None:
    file = load_study_file("report_a")  # 40 epochs at most, patience 5
    found = refit_file(file, [11, 12, 14])
    assert (found.training.final_epochs, found.training.final_patience) == (12, 0)
    assert found.training.epochs == file.training.epochs
    assert found.space == file.space


def test_a_refit_of_an_mlp_forgets_the_epochs_of_its_family() -> None:
    training = {"epochs": 3, "final_epochs": 9, "final_patience": 2, "mlp_final_epochs": 50}
    found = refit_file(tiny_study(training=training), [6, 8]).training
    assert found.final_epochs_of("mlp") == 7


def test_without_patience_a_refit_trains_as_the_replicates_did() -> None:
    file = load_study_file("bloodmnist")
    assert refit_file(file, [3, 29]) == long_file(file)


def test_more_replicates_with_another_mean_make_another_study(storage: Storage) -> None:
    """The first one's trials were trained for another number of epochs."""
    file = tiny_study(training={"epochs": 3, "final_epochs": 9, "final_patience": 2})
    study = create_or_resume(storage, "tiny", file, FINGERPRINT)
    point = {"arch": "mlp", "optimizer": "adam", "lr": 1e-3}

    def complete(best_epoch: int) -> FrozenTrial:
        attrs = {"params": point, "best_epoch": best_epoch}
        return create_trial(state=TrialState.COMPLETE, value=0.9, user_attrs=attrs)

    names = [
        refit_study(storage, info(study), complete(0), plain, [1]).study_name
        for plain in ([complete(4)], [complete(4), complete(6)], [complete(5)])
    ]
    assert names == [f"tiny-final--1-train-val-{n}" for n in (4, 5, 5)]


def test_the_splits_are_joined_in_order_and_validation_stays() -> None:
    data = load_dataset("synthetic")
    both = joined(data)
    n_train, n_val = len(data.train_labels), len(data.val_labels)
    assert both.train_images.shape == (n_train + n_val, 28, 28, 3)
    np.testing.assert_array_equal(both.train_images[n_train:], data.val_images)
    np.testing.assert_array_equal(both.train_labels[:n_train], data.train_labels)
    np.testing.assert_array_equal(both.val_images, data.val_images)
    assert both.fingerprint == data.fingerprint


def test_only_replicates_are_judged_by_validation() -> None:
    """A refit's best epoch would be chosen on images that it was trained on."""
    assert KEPT == {"replicates": "best", "refits": "last"}
