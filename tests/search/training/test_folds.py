"""Cross-validation: folds, their joint epochs, and resuming them."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch

from bloodsearch.models import MLPConfig
from bloodsearch.search.training.config import LossConfig, OptimizerConfig, TrialConfig
from bloodsearch.search.training.device import DeviceData
from bloodsearch.search.training.endings import OtherTraining
from bloodsearch.search.training.fit import Checkpoint, fit
from bloodsearch.search.training.folds import assign, make_folds


def config(epochs: int = 3) -> TrialConfig:
    return TrialConfig(
        model=MLPConfig(widths=(16,), dropout=0.2, norm=True),
        optimizer=OptimizerConfig(name="adamw", lr=3e-3),
        loss=LossConfig(name="cross_entropy"),
        augment="flips",
        batch_size=32,
        epochs=epochs,
    )


def test_folds_are_stratified_and_repeatable() -> None:
    labels = np.repeat(np.arange(4), (50, 23, 7, 3))
    fold = assign(labels, 5, seed=1)
    counts = np.array([np.bincount(fold[labels == c], minlength=5) for c in range(4)])
    assert (counts.max(axis=1) - counts.min(axis=1) <= 1).all()
    assert np.ptp(counts.sum(axis=0)) <= 1
    assert (assign(labels, 5, seed=1) == fold).all()
    assert (assign(labels, 5, seed=2) != fold).any()


def test_each_image_is_validated_once_and_never_trained_on_in_its_fold(small: DeviceData) -> None:
    folds = make_folds(small, 4, seed=0)
    total = len(small.train_labels) + len(small.val_labels)
    assert sum(len(data.val_labels) for data in folds) == total
    for data in folds:
        assert len(data.train_labels) + len(data.val_labels) == total
        held = {image.numpy().tobytes() for image in data.val_images}
        assert not held & {image.numpy().tobytes() for image in data.train_images}


@pytest.mark.parametrize("seed", range(4))
def test_a_group_is_never_on_both_sides(small: DeviceData, seed: int) -> None:
    """Patients of 1 to 40 images, whose images are in the training and in the validation split."""
    n = len(small.train_labels) + len(small.val_labels)
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.repeat(np.arange(n), rng.integers(1, 41, n))[:n])
    labels = torch.cat([small.train_labels, small.val_labels]).numpy()
    fold = assign(labels, 5, seed, groups)
    for group in np.unique(groups):
        assert len(set(fold[groups == group])) == 1
    counts = np.bincount(fold, minlength=5)
    assert counts.min() > 0.6 * n / 5
    assert (assign(labels, 5, seed, groups) == fold).all()
    assert (assign(labels, 5, seed + 1, groups) != fold).any()
    grouped = make_folds(replace(small, groups=groups), 5, seed)
    assert [len(data.val_labels) for data in grouped] == counts.tolist()
    images = torch.cat([small.train_images, small.val_images]).numpy()
    for i, data in enumerate(grouped):
        np.testing.assert_array_equal(data.val_images.numpy(), images[fold == i])
        np.testing.assert_array_equal(data.val_labels.numpy(), labels[fold == i])


def test_as_many_groups_as_folds(small: DeviceData) -> None:
    labels = np.arange(100) % 3
    groups = np.repeat(np.arange(5), (60, 30, 8, 1, 1))
    fold = assign(labels, 5, 0, groups)
    assert sorted(np.bincount(fold)) == [1, 1, 8, 30, 60]


def test_folds_share_their_images(small: DeviceData) -> None:
    """A set of 5,000 images of 224 x 224 pixels has 750 MB, and a copy for each fold would take 3 GB."""
    folds = make_folds(small, 5, seed=0)
    storages = {
        images.untyped_storage().data_ptr(): images.untyped_storage().nbytes()
        for data in folds
        for images in (data.train_images, data.val_images)
    }
    assert sum(storages.values()) < 2 * (small.train_images.nbytes + small.val_images.nbytes)


def test_an_epoch_is_judged_on_all_images(small: DeviceData) -> None:
    folds = make_folds(small, 4, seed=0)
    result = fit(config(), folds, seed=7, precision="float32")
    assert result.best_confusion.sum() == len(small.train_labels) + len(small.val_labels)
    assert len(result.history) == 3
    assert result.state is None
    again = fit(config(), folds, seed=7, precision="float32")
    assert [e.val_macro_f1 for e in again.history] == [e.val_macro_f1 for e in result.history]


def test_a_resume_gives_the_same_curve(small: DeviceData) -> None:
    folds = make_folds(small, 3, seed=0)
    files: list[io.BytesIO] = []

    def save(checkpoint: Checkpoint) -> None:
        # at once, because the training goes on in the tensors of a checkpoint
        files.append(io.BytesIO())
        torch.save(checkpoint, files[-1])

    whole = fit(config(), folds, seed=7, precision="float32", save_checkpoint=save)
    files[0].seek(0)
    first = torch.load(files[0], weights_only=True)
    resumed = fit(config(), folds, seed=7, precision="float32", resume=first)
    assert [(e.val_macro_f1, e.val_loss, e.train_loss) for e in resumed.history] == [
        (e.val_macro_f1, e.val_loss, e.train_loss) for e in whole.history
    ]
    with pytest.raises(OtherTraining):
        fit(config(), make_folds(small, 4, seed=0), seed=7, precision="float32", resume=first)
