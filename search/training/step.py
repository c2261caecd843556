"""One training step: from a batch of bytes to changed weights.

On a CUDA device the step can be captured once as a graph and then replayed: a small network's step is some
hundred kernels of a few microseconds, and launching them one by one takes longer than running them. The
capture was never run on a device, so a study has to ask for it (`training.cuda_graph`).
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Iterator
from typing import Protocol

import torch

from .half import HalfCopy, can_copy
from .losses import Loss, weighted_mean
from .predict import scale

_log = logging.getLogger(__name__)


class Step:
    """Forward, backward and the optimizer's step, operation by operation."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Loss,
        dtype: torch.dtype,
    ) -> None:
        self.model, self.optimizer, self.loss, self.dtype = model, optimizer, loss, dtype
        self.image_losses = torch.empty(0)
        """The losses (b,) of the images of the last batch that had weights, each by its class's weight."""

    def __call__(
        self, images: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Train on uint8 images (b, s, s, c) and labels (b,); the batch's mean loss, detached.

        With `weights` (b,) of the images the mean is weighted, and `image_losses` are kept.
        """
        with torch.autocast(
            images.device.type,
            dtype=torch.bfloat16,
            enabled=self.dtype == torch.bfloat16,
            # within a graph's capture a cached cast would outlive the memory that it lies in
            cache_enabled=images.device.type != "cuda",
        ):
            logits = self.model(scale(images, self.dtype))
        loss = self._mean_loss(logits, labels, weights)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    def _mean_loss(
        self, logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None
    ) -> torch.Tensor:
        if weights is None:
            return self.loss(logits, labels)
        losses, of_class = self.loss.of_images(logits, labels)
        if of_class is None:
            self.image_losses = losses.detach()
            return weighted_mean(losses, weights)
        self.image_losses = of_class * losses.detach()
        return weighted_mean(losses, of_class * weights)

    def set_lr(self, lr: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = lr


class HalfStep(Step):
    """A step in bfloat16 on a CPU that computes with lasting copies of the large weights."""

    def __init__(
        self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, loss: Loss
    ) -> None:
        super().__init__(model, optimizer, loss, torch.bfloat16)
        self.copy = HalfCopy(model)

    def __call__(
        self, images: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        self.copy.refresh()
        self.copy.model.train(self.model.training)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = self.copy.model(scale(images, self.dtype))
        loss = self._mean_loss(logits, labels, weights)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()  # of all weights that have no copy
        self.copy.update(self.optimizer)
        return loss.detach()


class Graphs(Protocol):
    """What captures work on a device; a test has one for the CPU."""

    def aside(self) -> contextlib.AbstractContextManager[object]:
        """Where the steps before a capture run."""

    def capture(self, work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Callable[[], None]]:
        """Record `work` without running it: the tensor that it returns, and what fills it anew."""


@functools.cache
def _side_stream() -> torch.cuda.Stream:
    """Return the stream of all warm-up steps and captures of this process.

    It is one stream because cuBLAS keeps a workspace for each stream that used it, to the end of the process.
    """
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]


class CudaGraphs:
    """Capture with torch.cuda.CUDAGraph."""

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        stream = _side_stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            yield
        torch.cuda.current_stream().wait_stream(stream)

    def capture(self, work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Callable[[], None]]:
        graph = torch.cuda.CUDAGraph()
        # torch.cuda.graph leaves its own stream current if a capture fails; the outer context does not
        with (
            torch.cuda.stream(torch.cuda.current_stream()),
            torch.cuda.graph(graph, stream=_side_stream()),
        ):
            out = work()
        return out, graph.replay


class CapturedStep(Step):
    """A step that is captured once for full batches and replayed.

    Other batches, and those with weights, run as in `Step`.

    The first WARM_UP full batches run operation by operation too: the optimizer makes its moments
    and libraries choose their kernels then. Where a capture fails, training continues without it.
    """

    WARM_UP = 3

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Loss,
        dtype: torch.dtype,
        *,
        batch_size: int,
        graphs: Graphs,
    ) -> None:
        super().__init__(model, optimizer, loss, dtype)
        self.batch_size, self.graphs = batch_size, graphs
        self.n_warm = 0
        self.replay: Callable[[], None] | None = None
        self.failed = False
        self.images = self.labels = self.out = torch.empty(0)

    def __call__(
        self, images: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor | None = None
    ) -> torch.Tensor:
        if len(images) != self.batch_size or self.failed or weights is not None:
            return super().__call__(images, labels, weights)
        if self.n_warm < self.WARM_UP:
            self.n_warm += 1
            with self.graphs.aside():
                return super().__call__(images, labels)
        if self.replay is None and not self._capture(images, labels):
            return super().__call__(images, labels)
        assert self.replay is not None
        self.images.copy_(images)
        self.labels.copy_(labels)
        self.replay()
        return self.out.clone()  # the next replay writes over it

    def set_lr(self, lr: float) -> None:
        # a number would be part of the graph; a tensor on the device can be changed between replays
        for group in self.optimizer.param_groups:
            rate = group["lr"]
            if isinstance(rate, torch.Tensor) and rate.device == self._device():
                rate.fill_(lr)
            else:
                group["lr"] = torch.tensor(lr, device=self._device())

    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    def _capture(self, images: torch.Tensor, labels: torch.Tensor) -> bool:
        self.images, self.labels = torch.empty_like(images), torch.empty_like(labels)
        work = super().__call__
        self.optimizer.zero_grad(set_to_none=True)  # gradients then lie in the graph's memory
        with self._capturable():
            try:
                self.out, self.replay = self.graphs.capture(lambda: work(self.images, self.labels))
            except RuntimeError as error:
                self.failed = True
                _log.warning("no captured graph (%s): training continues without it", _first(error))
        return not self.failed

    @contextlib.contextmanager
    def _capturable(self) -> Iterator[None]:
        """Adam refuses to be captured without this flag, and warns outside a capture with it."""
        groups = [group for group in self.optimizer.param_groups if "capturable" in group]
        for group in groups:
            group["capturable"] = True
        try:
            yield
        finally:
            for group in groups:
                group["capturable"] = False


def make_step(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Loss,
    dtype: torch.dtype,
    *,
    capture: int | None = None,
) -> Step:
    """Return a step. `capture` is the size of the batches to capture as a CUDA graph, None for no graph."""
    if capture is not None:
        return CapturedStep(model, optimizer, loss, dtype, batch_size=capture, graphs=CudaGraphs())
    if dtype == torch.bfloat16 and can_copy(model, optimizer):
        return HalfStep(model, optimizer, loss)
    return Step(model, optimizer, loss, dtype)


def _first(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:200]
