"""The one training loop: search, replay and final evaluation all run `fit`.

It knows nothing of Optuna, studies or databases. What happens after an epoch is the caller's
`on_epoch`, which may raise to end the training (a prune, a lost lease).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional as F

from models import build_model
from search.training.augment import augment_epoch
from search.training.config import TrialConfig
from search.training.device import DeviceData, Precision, choose_precision
from search.training.endings import Diverged, Drained, OtherTraining, OutOfMemory
from search.training.losses import make_loss
from search.training.memory import training_memory
from search.training.metrics import Confusion, confusion_on_device, scores
from search.training.optimizers import lr_factor, make_optimizer
from search.training.predict import predict_logits, scale


@dataclass(frozen=True, slots=True)
class EpochResult:
    epoch: int
    """1 for the first."""
    train_loss: float
    val_loss: float
    """Plain cross-entropy on the validation split, whatever the training loss."""
    val_macro_f1: float
    val_accuracy: float
    seconds: float


@dataclass(frozen=True, slots=True)
class FitResult:
    history: list[EpochResult]
    best_epoch: int
    best_value: float
    """Highest validation macro-F1 of all epochs."""
    best_confusion: Confusion
    reason: Literal["epochs", "patience"]
    n_parameters: int
    seconds: float
    """Training and validation time over all epochs, those before a resume included."""
    best_state: dict[str, torch.Tensor] | None
    """Weights after the best epoch, on the CPU, if `keep_best` was set."""


@dataclass(slots=True)
class _Progress:
    """What a resume needs besides weights, optimizer and generators."""

    history: list[EpochResult] = field(default_factory=list)
    best_epoch: int = 0
    best_value: float = -math.inf
    best_confusion: list[list[int]] = field(default_factory=list)

    def add(self, result: EpochResult, confusion: Confusion) -> bool:
        """Append an epoch; True if it is the best so far."""
        self.history.append(result)
        if result.val_macro_f1 <= self.best_value:
            return False
        self.best_epoch, self.best_value = result.epoch, result.val_macro_f1
        self.best_confusion = confusion.tolist()
        return True


Checkpoint = dict[str, Any]


def fit(
    config: TrialConfig,
    data: DeviceData,
    *,
    seed: int,
    on_epoch: Callable[[EpochResult], None] = lambda result: None,
    should_stop: Callable[[], bool] = lambda: False,
    save_checkpoint: Callable[[Checkpoint], None] | None = None,
    resume: Checkpoint | None = None,
    keep_best: bool = False,
    precision: Precision | None = None,
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
            run = _Run(config, data, seed, keep_best, precision or choose_precision(data.device))
            if resume is not None:
                run.restore(resume)
            try:
                return run.train(on_epoch, should_stop, save_checkpoint)
            finally:
                del run  # before the memory is given back
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise OutOfMemory(str(error)) from error
    except RuntimeError as error:
        # The CPU allocator has no exception class of its own.
        if "DefaultCPUAllocator" in str(error) or "out of memory" in str(error).lower():
            raise OutOfMemory(str(error).split("\n")[0]) from error
        raise


class _Run:
    """One training: model, optimizer, generators and progress."""

    def __init__(
        self,
        config: TrialConfig,
        data: DeviceData,
        seed: int,
        keep_best: bool,
        precision: Precision,
    ) -> None:
        self.config, self.data, self.keep_best = config, data, keep_best
        # what a checkpoint must agree on to be this training's
        content_hash = data.fingerprint.content_hash
        self.identity = f"{config.digest()} seed {seed} data {content_hash} {precision}"
        self.dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        torch.manual_seed(seed)  # weights and dropout
        self.generator = torch.Generator().manual_seed(seed)  # order and augmentation
        model = build_model(config.model).to(data.device)
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = make_optimizer(config.optimizer, self.model)
        self.loss = make_loss(config.loss, data.train_labels)
        self.n_images = len(data.train_images)
        if self.n_images % config.batch_size == 1:
            self.n_images -= 1  # BatchNorm has no variance in a last batch of one image
        self.n_batches = math.ceil(self.n_images / config.batch_size)
        self.progress = _Progress()
        self.best_state: dict[str, torch.Tensor] | None = None

    def train(
        self,
        on_epoch: Callable[[EpochResult], None],
        should_stop: Callable[[], bool],
        save_checkpoint: Callable[[Checkpoint], None] | None,
    ) -> FitResult:
        progress, config = self.progress, self.config
        if progress.history:
            on_epoch(progress.history[-1])
        for epoch in range(len(progress.history) + 1, config.epochs + 1):
            if self._out_of_patience():
                break
            started = time.perf_counter()
            train_loss = self._train_epoch(epoch, should_stop)
            confusion, val_loss = self._validate()
            if not (math.isfinite(train_loss) and math.isfinite(val_loss)):
                raise Diverged(f"loss {train_loss}, validation loss {val_loss} in epoch {epoch}")
            if not _all_finite(self.model):  # a ReLU may have turned NaN into zeros
                raise Diverged(f"weights that are no numbers in epoch {epoch}")
            found = scores(confusion)
            result = EpochResult(
                epoch=epoch,
                train_loss=train_loss,
                val_loss=val_loss,
                val_macro_f1=found.macro_f1,
                val_accuracy=found.accuracy,
                seconds=time.perf_counter() - started,
            )
            if progress.add(result, confusion) and self.keep_best:
                self.best_state = _cpu_copy(self.model.state_dict())
            try:
                on_epoch(result)
            except Drained:
                if save_checkpoint is not None:
                    save_checkpoint(self.checkpoint())
                raise
            if save_checkpoint is not None and epoch < config.epochs:
                save_checkpoint(self.checkpoint())
        return self._result()

    def _train_epoch(self, epoch: int, should_stop: Callable[[], bool]) -> float:
        """One pass over the training split; the mean training loss."""
        self.model.train()
        total = torch.zeros((), device=self.data.device)
        for i, (images, labels) in enumerate(self._batches()):
            if should_stop():
                raise Drained
            self._set_lr((epoch - 1) * self.n_batches + i)
            with self._autocast():
                logits = self.model(images)
            loss = self.loss(logits, labels)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            total += loss.detach() * len(labels)
        return float(total) / self.n_images

    def _batches(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Shuffled, augmented, scaled batches: images (b, 3, 28, 28) channels-last, labels (b,)."""
        data, config = self.data, self.config
        order = torch.randperm(len(data.train_images), generator=self.generator)[: self.n_images]
        order = order.to(data.device)
        labels = data.train_labels.index_select(0, order)
        augmented = None
        if config.augment != "none" or config.shift:
            augmented = augment_epoch(
                data.train_images,
                order,
                augment=config.augment,
                shift=config.shift,
                generator=self.generator,
            )
        for start in range(0, len(order), config.batch_size):
            stop = start + config.batch_size
            if augmented is None:
                batch = data.train_images.index_select(0, order[start:stop])
            else:
                batch = augmented[start:stop]
            yield scale(batch, self.dtype), labels[start:stop]

    def _set_lr(self, step: int) -> None:
        progress = step / max(1, self.config.epochs * self.n_batches - 1)
        lr = self.config.optimizer.lr * lr_factor(self.config.schedule, progress)
        for group in self.optimizer.param_groups:
            group["lr"] = lr

    def _validate(self) -> tuple[Confusion, float]:
        logits = predict_logits(self.model, self.data.val_images, self.dtype)
        labels = self.data.val_labels
        loss = F.cross_entropy(logits, labels)
        confusion = confusion_on_device(labels, logits.argmax(dim=1))
        return confusion.cpu().numpy(), float(loss)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.data.device.type, dtype=torch.bfloat16, enabled=self.dtype == torch.bfloat16
        )

    def _out_of_patience(self) -> bool:
        patience, progress = self.config.patience, self.progress
        return bool(patience) and len(progress.history) - progress.best_epoch >= patience

    def checkpoint(self) -> Checkpoint:
        """All that `restore` needs, as tensors and plain values."""
        progress = self.progress
        return {
            "identity": self.identity,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "torch_generator": torch.get_rng_state(),
            "cuda_generator": (
                torch.cuda.get_rng_state(self.data.device)
                if self.data.device.type == "cuda"
                else None
            ),
            "history": [asdict(result) for result in progress.history],
            "best_epoch": progress.best_epoch,
            "best_value": progress.best_value,
            "best_confusion": progress.best_confusion,
            "best_state": self.best_state,
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from `checkpoint`. Raises OtherTraining when it belongs to another training."""
        if checkpoint.get("identity") != self.identity:
            raise OtherTraining("the checkpoint belongs to another configuration, seed or data set")
        self.model.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.generator.set_state(checkpoint["generator"])
        torch.set_rng_state(checkpoint["torch_generator"])
        if checkpoint["cuda_generator"] is not None:
            torch.cuda.set_rng_state(checkpoint["cuda_generator"], self.data.device)
        self.progress = _Progress(
            history=[EpochResult(**result) for result in checkpoint["history"]],
            best_epoch=checkpoint["best_epoch"],
            best_value=checkpoint["best_value"],
            best_confusion=checkpoint["best_confusion"],
        )
        self.best_state = checkpoint["best_state"]

    def _result(self) -> FitResult:
        progress = self.progress
        return FitResult(
            history=progress.history,
            best_epoch=progress.best_epoch,
            best_value=progress.best_value,
            best_confusion=np.asarray(progress.best_confusion),
            reason="patience" if self._out_of_patience() else "epochs",
            n_parameters=sum(p.numel() for p in self.model.parameters()),
            seconds=sum(result.seconds for result in progress.history),
            best_state=self.best_state,
        )


def _all_finite(model: torch.nn.Module) -> bool:
    sums = torch.stack([parameter.detach().sum() for parameter in model.parameters()])
    return bool(sums.isfinite().all())


def _cpu_copy(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}
