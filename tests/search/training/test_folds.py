"""Cross-validation: folds, their joint epochs, and resuming them."""

from __future__ import annotations

import io

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
