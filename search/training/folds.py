"""Cross-validation: one training per fold, in step, judged together after each epoch.

A macro-F1 read on a few dozen validation images chooses nothing. Here every image of the training and the
validation split is predicted by a model that was not trained on it, so the score rests on all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from .config import TrialConfig
from .device import DeviceData, Precision
from .history import Progress
from .loop import Checkpoint, Training
from .metrics import Confusion


def make_folds(data: DeviceData, n_folds: int, seed: int) -> list[DeviceData]:
    """Split the images of both splits into stratified folds. Each is validated on by one of the results.

    A group's images are in one fold. The results share memory: two copies of the images, however many folds.
    """
    labels = torch.cat([data.train_labels, data.val_labels])
    fold = assign(labels.cpu().numpy(), n_folds, seed, data.groups)
    order = torch.from_numpy(np.argsort(fold, kind="stable")).to(data.device)
    ends = np.cumsum(np.bincount(fold, minlength=n_folds)).tolist()
    starts, n = [0, *ends[:-1]], ends[-1]
    # fold after fold, and round again: all folds but one are a slice, whichever is left out
    images = torch.empty(
        (n + starts[-1], *data.train_images.shape[1:]), dtype=torch.uint8, device=data.device
    )
    for start, end in zip(starts, ends, strict=True):
        _copy_rows(data, order[start:end], images[start:end])
    images[n:] = images[: starts[-1]]
    labels = labels.index_select(0, torch.cat([order, order[: starts[-1]]]))
    return [
        DeviceData(
            images[end : n + start],
            labels[end : n + start],
            images[start:end],
            labels[start:end],
            data.fingerprint,
        )
        for start, end in zip(starts, ends, strict=True)
    ]


def _copy_rows(data: DeviceData, rows: torch.Tensor, out: torch.Tensor) -> None:
    """Copy images into `out`, without another copy. Rows ascend; those of the validation split come last."""
    n_train = len(data.train_images)
    n = int((rows < n_train).sum())
    torch.index_select(data.train_images, 0, rows[:n], out=out[:n])
    torch.index_select(data.val_images, 0, rows[n:] - n_train, out=out[n:])


def assign(
    labels: np.ndarray, n_folds: int, seed: int, groups: np.ndarray | None = None
) -> np.ndarray:
    """Return the fold of each image, int64 (n,). Folds differ by at most one image of each class.

    With `groups` (n,), the images of a group are in one fold, and the folds are as alike as that allows.
    There must be `n_folds` groups at least.
    """
    if groups is not None:
        return _assign_groups(labels, n_folds, seed, groups)
    rng = np.random.default_rng(seed)
    fold = np.empty(len(labels), dtype=np.int64)
    start = 0
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        # each class begins where the last one ended, so that small classes do not all fill the first folds
        fold[rows] = (start + np.arange(len(rows))) % n_folds
        start += len(rows)
    return fold


def _assign_groups(labels: np.ndarray, n_folds: int, seed: int, groups: np.ndarray) -> np.ndarray:
    """Put one group after the other where it brings classes and sizes closest to equal (least chi-square).

    Not scikit-learn's StratifiedGroupKFold, whose folds hardly depend on the seed.
    """
    _, label = np.unique(labels, return_inverse=True)
    _, group = np.unique(groups, return_inverse=True)
    by_class = np.zeros((group.max() + 1, label.max() + 1))
    np.add.at(by_class, (group, label), 1)
    # the last column counts all classes; with it no fold stays empty
    counts = np.column_stack([by_class, by_class.sum(axis=1)])
    target = counts.sum(axis=0) / n_folds
    # large groups come early, so that small ones can even out; chance makes other folds with each seed
    rng = np.random.default_rng(seed)
    order = np.argsort(-counts[:, -1] * rng.uniform(0.5, 1.5, len(counts)))
    filled = np.zeros((n_folds, len(target)))
    fold = np.empty(len(counts), dtype=np.int64)
    for i in order:
        gain = (counts[i] * (2 * (target - filled) - counts[i]) / target).sum(axis=1)
        fold[i] = gain.argmax()
        filled[fold[i]] += counts[i]
    return fold[group]


class FoldedTraining(Training):
    """A training per fold. An epoch is one of each; its confusion matrix is the sum over the folds."""

    def __init__(
        self,
        config: TrialConfig,
        folds: Sequence[DeviceData],
        seed: int,
        precision: Precision,
        val_precision: Precision | None,
        cuda_graph: bool,
    ) -> None:
        self.parts = [
            Training(config, data, seed + i, None, precision, val_precision, cuda_graph=cuda_graph)
            for i, data in enumerate(folds)
        ]
        first = self.parts[0]
        self.config, self.keep, self.precision = config, None, precision
        self.data, self.model = first.data, first.model
        self.identity = f"{first.identity} in {len(folds)} folds"
        self.progress = Progress()
        self.best_state = None

    def _train_epoch(self, epoch: int, should_stop: Callable[[], bool]) -> float:
        losses = [part._train_epoch(epoch, should_stop) for part in self.parts]
        return float(np.mean(losses))

    def _validate(self) -> tuple[Confusion, float]:
        validated = [part._validate() for part in self.parts]
        sizes = [len(part.data.val_labels) for part in self.parts]
        confusion = np.sum([confusion for confusion, _ in validated], axis=0)
        return confusion, float(np.average([loss for _, loss in validated], weights=sizes))

    def _is_finite(self) -> bool:
        return all(part._is_finite() for part in self.parts)

    def checkpoint(self) -> Checkpoint:
        """Return all that `restore` needs: the checkpoints of the folds, and the progress of all."""
        return self.saved_progress() | {"folds": [part.checkpoint() for part in self.parts]}

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from `checkpoint`. Raises OtherTraining if it belongs to another training."""
        self.restore_progress(checkpoint)
        for part, saved in zip(self.parts, checkpoint["folds"], strict=True):
            part.restore(saved)
