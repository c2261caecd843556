"""The training loop. One `Training` is a model, its optimizer and its progress through the epochs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from ...models import build_model
from .augment import augment_epoch
from .average import WeightAverage
from .config import TrialConfig
from .device import DeviceData, Precision
from .draw import LossDraws, Pass
from .early_stopping import out_of_patience
from .endings import Diverged, Drained, OtherTraining
from .history import EpochResult, FitResult, Keep, Progress
from .losses import make_loss
from .metrics import Confusion, confusion_on_device, scores
from .optimizers import make_optimizer
from .predict import predict_logits
from .schedules import lr_factor
from .step import make_step

Checkpoint = dict[str, Any]


class Batch(NamedTuple):
    """A batch of a training."""

    images: torch.Tensor
    """Augmented, uint8 (b, s, s, c)."""
    labels: torch.Tensor
    """int64 (b,)."""
    rows: torch.Tensor
    """Indices of the images in the training split, int64 (b,)."""
    weights: torch.Tensor | None
    """Of the images' losses, float32 (b,); None: all are equal."""


class Training:
    """One training: model, optimizer, generators and progress."""

    def __init__(
        self,
        config: TrialConfig,
        data: DeviceData,
        seed: int,
        keep: Keep | None,
        precision: Precision,
        val_precision: Precision | None = None,
        *,
        cuda_graph: bool = False,
    ) -> None:
        self.config, self.data, self.keep = config, data, keep
        # a checkpoint of this training has the same identity
        content_hash = data.fingerprint.content_hash
        self.identity = f"{config.digest()} seed {seed} data {content_hash} {precision}"
        if val_precision not in (None, precision):
            self.identity += f" validated in {val_precision}"
        self.precision, self.dtype = precision, getattr(torch, precision)
        self.val_dtype = getattr(torch, val_precision or precision)
        torch.manual_seed(seed)  # weights and dropout
        self.generator = torch.Generator().manual_seed(seed)  # order and augmentation
        model = build_model(config.model).to(data.device)
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = make_optimizer(config.optimizer, self.model, self.dtype)
        self.step = make_step(
            self.model,
            self.optimizer,
            make_loss(config.loss, data.train_labels, config.model.shape.classes),
            self.dtype,
            capture=config.batch_size if cuda_graph and data.device.type == "cuda" else None,
        )
        self.average = WeightAverage(self.model, config.ema) if config.ema else None
        self.n_images = len(data.train_images)
        self.draws = (
            LossDraws(self.n_images, config.skip_easy, data.device) if config.skip_easy else None
        )
        if self.n_images % config.batch_size == 1:
            self.n_images -= 1  # BatchNorm has no variance in a last batch of one image
        self.n_batches = math.ceil(self.n_images / config.batch_size)
        self.progress = Progress()
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
            if not self._is_finite():  # a ReLU may have turned NaN into zeros
                raise Diverged(f"weights that are not finite in epoch {epoch}")
            measured = scores(confusion)
            result = EpochResult(
                epoch=epoch,
                train_loss=train_loss,
                val_loss=val_loss,
                val_macro_f1=measured.macro_f1,
                val_accuracy=measured.accuracy,
                seconds=time.perf_counter() - started,
            )
            if progress.add(result, confusion) and self.keep == "best":
                self.best_state = _cpu_copy(self.validated.state_dict())
            try:
                on_epoch(result)
            except Drained:
                if save_checkpoint is not None:
                    save_checkpoint(self.checkpoint())
                raise
            if save_checkpoint is not None and epoch < config.epochs:
                save_checkpoint(self.checkpoint())
        return self._result()

    @property
    def validated(self) -> torch.nn.Module:
        """The model that is validated and kept: with the averaged weights, if they are averaged."""
        return self.model if self.average is None else self.average.model

    def _train_epoch(self, epoch: int, should_stop: Callable[[], bool]) -> float:
        """Train on as many images as the training split has. Return the mean training loss."""
        self.model.train()
        total = torch.zeros((), device=self.data.device)
        for i, batch in enumerate(self.batches(epoch)):
            if should_stop():
                raise Drained
            self.step.set_lr(self._lr((epoch - 1) * self.n_batches + i))
            total += self.step(batch.images, batch.labels, batch.weights) * len(batch.labels)
            if self.draws is not None:
                self.draws.saw(batch.rows, self.step.image_losses)
            if self.average is not None:
                self.average.update()
        return float(total) / self.n_images

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the shuffled, augmented batches of an epoch."""
        size = self.config.batch_size
        for shown in self._passes(epoch):
            labels = self.data.train_labels.index_select(0, shown.order)
            blocks = self._blocks(shown.order, epoch)
            images = (b for block in blocks for b in torch.split(block, size))
            rows = torch.split(shown.order, size)
            weights: Iterable[torch.Tensor | None] = (
                [None] * len(rows) if shown.weights is None else torch.split(shown.weights, size)
            )
            yield from map(
                Batch._make, zip(images, torch.split(labels, size), rows, weights, strict=True)
            )

    def _passes(self, epoch: int) -> Iterator[Pass]:
        """Yield passes that show as many images as an epoch has: one of all, or several of fewer."""
        data, config = self.data, self.config
        if self.draws is None:
            order = torch.randperm(len(data.train_images), generator=self.generator)
            yield Pass(order[: self.n_images].to(data.device), None)
            return
        left = self.n_images
        while left:
            progress = (epoch - left / self.n_images) / config.epochs
            shown = self.draws.draw(progress, config.batch_size, self.generator).first(left)
            yield shown
            left -= len(shown.order)

    def _blocks(self, order: torch.Tensor, epoch: int) -> Iterator[torch.Tensor]:
        """Yield the images of an epoch in their order, in blocks that are multiples of a batch."""
        data, config = self.data, self.config
        if config.augment == "none" and not (config.shift or config.rotate):
            return (
                data.train_images.index_select(0, o) for o in torch.split(order, config.batch_size)
            )
        return augment_epoch(
            data.train_images,
            order,
            augment=config.augment,
            shift=config.shift,
            rotate=config.rotate,
            generator=self.generator,
            batch_size=config.batch_size,
        )

    def _lr(self, step: int) -> float:
        progress = step / max(1, self.config.epochs * self.n_batches - 1)
        return self.config.optimizer.lr * lr_factor(self.config.schedule, progress)

    def _validate(self) -> tuple[Confusion, float]:
        logits = predict_logits(self.validated, self.data.val_images, self.val_dtype)
        labels = self.data.val_labels
        loss = F.cross_entropy(logits, labels)
        confusion = confusion_on_device(
            labels, logits.argmax(dim=1), self.config.model.shape.classes
        )
        return confusion.cpu().numpy(), float(loss)

    def _is_finite(self) -> bool:
        """Return whether all weights and BatchNorm statistics are finite numbers."""
        state = self.validated.state_dict().values()
        sums = [tensor.sum() for tensor in state if tensor.is_floating_point()]
        return bool(torch.stack(sums).isfinite().all())

    def _out_of_patience(self) -> bool:
        progress, config = self.progress, self.config
        return out_of_patience(
            len(progress.history), progress.best_epoch, config.patience, config.min_epochs
        )

    def checkpoint(self) -> Checkpoint:
        """Return all that `restore` needs, as tensors and plain values."""
        return self.saved_progress() | {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average and self.average.state_dict(),
            "image_losses": self.draws and self.draws.losses,
            "generator": self.generator.get_state(),
            "torch_generator": torch.get_rng_state(),
            "cuda_generator": (
                torch.cuda.get_rng_state(self.data.device)
                if self.data.device.type == "cuda"
                else None
            ),
            "best_state": self.best_state,
        }

    def saved_progress(self) -> Checkpoint:
        """Return the part of a checkpoint that says which training it is, and how far."""
        progress = self.progress
        return {
            "identity": self.identity,
            "precision": self.precision,
            "history": [asdict(result) for result in progress.history],
            "best_epoch": progress.best_epoch,
            "best_value": progress.best_value,
            "best_confusion": progress.best_confusion,
        }

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue from `checkpoint`. Raises OtherTraining if it belongs to another training."""
        self.restore_progress(checkpoint)
        self.model.load_state_dict(checkpoint["model"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        if self.average is not None:
            self.average.load_state_dict(checkpoint["average"])
        if self.draws is not None:
            self.draws.losses.copy_(checkpoint["image_losses"])
        self.generator.set_state(checkpoint["generator"])
        torch.set_rng_state(checkpoint["torch_generator"])
        if checkpoint["cuda_generator"] is not None:
            torch.cuda.set_rng_state(checkpoint["cuda_generator"], self.data.device)
        self.best_state = checkpoint["best_state"]

    def restore_progress(self, checkpoint: Checkpoint) -> None:
        """Take over what `saved_progress` saved. Raises OtherTraining if it is of another training."""
        if checkpoint.get("identity") != self.identity:
            raise OtherTraining("the checkpoint belongs to another configuration, seed or data set")
        self.progress = Progress(
            history=[EpochResult(**result) for result in checkpoint["history"]],
            best_epoch=checkpoint["best_epoch"],
            best_value=checkpoint["best_value"],
            best_confusion=checkpoint["best_confusion"],
        )

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
            state=_cpu_copy(self.validated.state_dict())
            if self.keep == "last"
            else self.best_state,
        )


def _cpu_copy(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}
