"""The one way to train: search, replay and final evaluation all call `fit`.

It knows nothing of Optuna, studies or databases. What happens after an epoch is the caller's
`on_epoch`, which may raise to end the training (a prune, a lost lease).
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from .allocator import training_memory
from .config import TrialConfig
from .device import DeviceData, Precision, choose_precision
from .endings import OutOfMemory
from .history import EpochResult, FitResult, Keep
from .loop import Checkpoint, Training

__all__ = ["Checkpoint", "EpochResult", "FitResult", "fit"]


def fit(
    config: TrialConfig,
    data: DeviceData,
    *,
    seed: int,
    on_epoch: Callable[[EpochResult], None] = lambda result: None,
    should_stop: Callable[[], bool] = lambda: False,
    save_checkpoint: Callable[[Checkpoint], None] | None = None,
    resume: Checkpoint | None = None,
    keep: Keep | None = None,
    precision: Precision | None = None,
    val_precision: Precision | None = None,
) -> FitResult:
    """Train `config` on `data` and return its validation curve.

    The same config, data, seed, device and number of threads give the same result on a CPU, also
    when the training is interrupted and resumed. `save_checkpoint` gets a new checkpoint after
    each epoch's `on_epoch`, also when that raises Drained; `resume` is such a checkpoint of the
    same config and seed. Its epochs are not run again, but `on_epoch` is told the last one again.

    Raises Diverged, OutOfMemory, Drained, OtherTraining, and whatever `on_epoch` raises.
    """
    try:
        with training_memory(data.device):
            training = Training(
                config,
                data,
                seed,
                keep,
                precision or choose_precision(data.device),
                val_precision,
            )
            if resume is not None:
                training.restore(resume)
            try:
                return training.train(on_epoch, should_stop, save_checkpoint)
            finally:
                del training  # before the memory is given back
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise OutOfMemory(str(error)) from error
    except RuntimeError as error:
        # The CPU allocator has no exception class of its own.
        if "DefaultCPUAllocator" in str(error) or "out of memory" in str(error).lower():
            raise OutOfMemory(str(error).split("\n")[0]) from error
        raise
