"""The loop most people write for MedMNIST, to compare with: one PIL image at a time, float32.

A `Dataset` that turns an array into a PIL image and that into a normalised tensor, a `DataLoader`
in the training process, the optimizer's default implementation, `loss.item()` each step, and
scikit-learn's macro-F1 over the validation split after each epoch. The models are the ones that
`fit` trains; ToTensor and Normalize do what torchvision's do, which need not be installed.

    python -m benchmarks.standard_loop "A CNN" THREADS     # an epoch for each line on standard input
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import f1_score
from torch import nn
from torch.utils.data import DataLoader, Dataset

from bloodsearch.models import build_model
from bloodsearch.search.data.archive import Array
from bloodsearch.search.data.load import Dataset as Splits
from bloodsearch.search.training.config import OptimizerConfig, TrialConfig
from bloodsearch.search.training.losses import class_weights, focal_losses
from bloodsearch.search.training.schedules import lr_factor

TURNS = [None, *Image.Transpose]
FLIPS = [
    None,
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.ROTATE_180,
]


def to_tensor(image: Image.Image) -> torch.Tensor:
    """A PIL image as (3, 28, 28) float32 in [0, 1]."""
    array = torch.from_numpy(np.array(image, copy=True))
    return array.permute(2, 0, 1).contiguous().float().div(255)


def normalize(image: torch.Tensor) -> torch.Tensor:
    """[0, 1] to [-1, 1]: mean and standard deviation 0.5 in every channel."""
    half = torch.full((3, 1, 1), 0.5)
    return image.clone().sub_(half).div_(half)


class Images(Dataset[tuple[torch.Tensor, int]]):
    """One split: `augment` as in the configuration, or "none"."""

    def __init__(self, images: Array, labels: Array, augment: str = "none", shift: int = 0) -> None:
        self.images, self.labels, self.shift = images, labels, shift
        kinds: dict[str, Sequence[Any]] = {"none": [None], "flips": FLIPS, "dihedral": TURNS}
        self.orientations = kinds[augment]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, int]:
        image = Image.fromarray(self.images[i]).convert("RGB")
        orientation = random.choice(self.orientations)
        if orientation is not None:
            image = image.transpose(orientation)
        pixels = normalize(to_tensor(image))
        if self.shift:
            padded = nn.functional.pad(pixels[None], (self.shift,) * 4, mode="replicate")[0]
            y, x = random.randint(0, 2 * self.shift), random.randint(0, 2 * self.shift)
            pixels = padded[:, y : y + 28, x : x + 28]
        return pixels, int(self.labels[i])


@dataclass(frozen=True, slots=True)
class Epoch:
    train_loss: float
    val_macro_f1: float
    seconds: float


class StandardLoop:
    """Trains `config` on the splits, one epoch a call of `epoch`. Images are prepared on the CPU."""

    def __init__(
        self, config: TrialConfig, splits: Splits, *, seed: int, device: str = "cpu"
    ) -> None:
        self.device = torch.device(device)
        torch.manual_seed(seed)
        random.seed(seed)
        train = Images(splits.train_images, splits.train_labels, config.augment, config.shift)
        val = Images(splits.val_images, splits.val_labels)
        self.train_loader = DataLoader(train, batch_size=config.batch_size, shuffle=True)
        self.val_loader = DataLoader(val, batch_size=config.batch_size)
        self.model = build_model(config.model).to(self.device)
        self.optimizer = _optimizer(config.optimizer, self.model)
        self.loss = _loss(config, torch.from_numpy(splits.train_labels).to(self.device))
        n_steps = config.epochs * len(self.train_loader)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda step: lr_factor(config.schedule, min(1.0, step / max(1, n_steps - 1))),
        )

    def epoch(self) -> Epoch:
        started = time.perf_counter()
        self.model.train()
        total = 0.0
        for images, labels in self.train_loader:
            self.optimizer.zero_grad()
            images, labels = images.to(self.device), labels.to(self.device)
            loss = self.loss(self.model(images), labels)
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()
            total += loss.item() * len(labels)
        macro_f1 = self._validate()
        n_images = len(self.train_loader.dataset)  # type: ignore[arg-type]
        return Epoch(total / n_images, macro_f1, time.perf_counter() - started)

    def _validate(self) -> float:
        self.model.eval()
        found: list[int] = []
        wanted: list[int] = []
        with torch.no_grad():
            for images, labels in self.val_loader:
                found += self.model(images.to(self.device)).argmax(dim=1).tolist()
                wanted += labels.tolist()
        return float(f1_score(wanted, found, average="macro"))


def _optimizer(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    if config.name == "sgd":
        return torch.optim.SGD(
            model.parameters(),
            lr=config.lr,
            momentum=config.momentum,
            nesterov=config.nesterov,
            weight_decay=config.weight_decay,
        )
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)


def _loss(
    config: TrialConfig, labels: torch.Tensor
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    if config.loss.name == "focal":
        return lambda logits, wanted: focal_losses(logits, wanted, gamma=config.loss.gamma).mean()
    if config.loss.name == "nll":
        return lambda logits, wanted: nn.functional.nll_loss(logits.log_softmax(1), wanted)
    weight = (
        class_weights(labels, config.model.shape.classes)
        if config.loss.name == "weighted_cross_entropy"
        else None
    )
    return nn.CrossEntropyLoss(weight=weight, label_smoothing=config.loss.label_smoothing)


class OtherProcess:
    """The standard loop in a process of its own, which trains only when asked to.

    `fit` changes how its process allocates memory; the standard loop must not gain by that.
    """

    def __init__(self, name: str, *, threads: int) -> None:
        command = [sys.executable, "-m", "benchmarks.standard_loop", name, str(threads)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def epoch(self) -> float:
        """Seconds of one more epoch."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("epoch\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


def main(name: str, threads: int) -> None:
    from benchmarks.engine_cases import case
    from bloodsearch.search.data.load import load_dataset

    torch.set_num_threads(threads)
    loop = StandardLoop(case(name, epochs=100), load_dataset("bloodmnist"), seed=0)
    for _ in sys.stdin:
        print(loop.epoch().seconds, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
