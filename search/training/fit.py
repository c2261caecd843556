"""`fit` trains a configuration. Search, replay and final evaluation all call it.

It does not depend on Optuna, studies or databases. After each epoch it calls the caller's `on_epoch`, which
may raise to end the training (pruning, a lost lease).
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence

import torch

from .allocator import training_memory
from .config import TrialConfig
from .device import DeviceData, Precision, choose_precision
from .endings import OutOfMemory
from .folds import FoldedTraining
from .history import EpochResult, FitResult, Keep
from .loop import Checkpoint, Training

__all__ = ["Checkpoint", "EpochResult", "FitResult", "fit"]


def fit(
    config: TrialConfig,
    data: DeviceData | Sequence[DeviceData],
    *,
    seed: int,
    on_epoch: Callable[[EpochResult], None] = lambda result: None,
    should_stop: Callable[[], bool] = lambda: False,
    save_checkpoint: Callable[[Checkpoint], None] | None = None,
    resume: Checkpoint | None = None,
    keep: Keep | None = None,
    precision: Precision | None = None,
    val_precision: Precision | None = None,
    cuda_graph: bool = False,
) -> FitResult:
    """Train `config` on `data` and return its validation curve.

    On a CPU the same config, data, seed and number of threads give the same result, also after an
    interruption and a resume.

    Args:
        config: the point to train.
        data: the data set on its device, or its folds (folds.make_folds).
        seed: decides weights, order, augmentation and dropout.
        on_epoch: called after each epoch; an exception that it raises ends the training.
        should_stop: asked before each batch; True raises Drained.
        save_checkpoint: called with a checkpoint after each `on_epoch`, also if that raises Drained.
        resume: a checkpoint of the same training. Its epochs are not trained again; `on_epoch` is called
            with the last of them.
        keep: the epoch whose weights the result holds; None for no weights. Folds have no weights to keep.
        precision: of the training; None for the device's best.
        val_precision: of the validation; None for the training's.
        cuda_graph: whether to capture the training step on a CUDA device.

    Raises Diverged, OutOfMemory, Drained, OtherTraining, and the exceptions of `on_epoch`.
    """
    device = data.device if isinstance(data, DeviceData) else data[0].device
    precision = precision or choose_precision(device)

    def train() -> FitResult:
        training = (
            Training(config, data, seed, keep, precision, val_precision, cuda_graph=cuda_graph)
            if isinstance(data, DeviceData)
            else FoldedTraining(config, data, seed, precision, val_precision, cuda_graph)
        )
        if resume is not None:
            training.restore(resume)
        return training.train(on_epoch, should_stop, save_checkpoint)

    try:
        with training_memory(device):
            try:
                return train()
            except BaseException as error:
                # the frames that a pruned trial left hold its model, whose memory is to be given back
                traceback.clear_frames(error.__traceback__)
                raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise OutOfMemory(str(error)) from error
    except RuntimeError as error:
        # the CPU allocator raises a plain RuntimeError
        if "DefaultCPUAllocator" in str(error) or "out of memory" in str(error).lower():
            raise OutOfMemory(str(error).split("\n")[0]) from error
        raise
