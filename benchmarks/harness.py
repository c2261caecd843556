"""What `fit` costs beyond its tensor operations: against a bare loop over the same ones.

    python -m benchmarks harness

One thread, one process, an epoch of each in turn; the goal is 3 %.
"""

from __future__ import annotations

import json
import time
from typing import Any

from benchmarks.common import in_own_process, save, shown, spread, table

N_EPOCHS = 9
MODELS = ("A CNN", "A MLP")


def bare_loop(config: Any, data: Any) -> Any:
    """A function that runs one epoch of training and validation, without anything around it."""
    import torch
    from torch.nn import functional as F

    from bloodsearch.models import build_model
    from bloodsearch.search.training.device import choose_precision
    from bloodsearch.search.training.losses import make_loss
    from bloodsearch.search.training.metrics import confusion_on_device
    from bloodsearch.search.training.optimizers import make_optimizer
    from bloodsearch.search.training.predict import predict_logits
    from bloodsearch.search.training.step import make_step

    dtype = getattr(torch, choose_precision(data.device))
    model: Any = build_model(config.model)
    model = model.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(config.optimizer, model, dtype)
    loss = make_loss(config.loss, data.train_labels, config.model.shape.classes)
    step = make_step(model, optimizer, loss, dtype)
    n = len(data.train_images)

    def epoch() -> float:
        started = time.perf_counter()
        model.train()
        order = torch.randperm(n)
        labels = data.train_labels.index_select(0, order)
        total = torch.zeros(())
        for start in range(0, n, config.batch_size):
            stop = start + config.batch_size
            images = data.train_images.index_select(0, order[start:stop])
            total += step(images, labels[start:stop])
        logits = predict_logits(model, data.val_images, dtype)
        F.cross_entropy(logits, data.val_labels).item()
        confusion_on_device(
            data.val_labels, logits.argmax(dim=1), config.model.shape.classes
        ).numpy()
        return time.perf_counter() - started

    return epoch


def child() -> None:
    import torch

    from benchmarks.engine_cases import case
    from bloodsearch.search.data.load import load_dataset
    from bloodsearch.search.training.device import to_device
    from bloodsearch.search.training.fit import EpochResult, fit

    torch.set_num_threads(1)
    data = to_device(load_dataset("bloodmnist"), torch.device("cpu"))
    found = []
    for name in MODELS:
        config = case(name, epochs=N_EPOCHS + 1)
        bare = bare_loop(config, data)
        pairs: list[tuple[float, float]] = []
        ends = [time.perf_counter()]

        def on_epoch(
            result: EpochResult, bare: Any = bare, pairs: Any = pairs, ends: Any = ends
        ) -> None:
            # from the end of the last callback: a checkpoint or a report inside `fit` would count
            ours = time.perf_counter() - ends[-1]
            theirs = bare()
            if result.epoch > 1:
                pairs.append((ours, theirs))
            ends.append(time.perf_counter())

        fit(config, data, seed=0, on_epoch=on_epoch, save_checkpoint=lambda payload: None)
        found.append(
            {
                "model": name,
                "fit": spread([ours for ours, _ in pairs]),
                "bare": spread([theirs for _, theirs in pairs]),
                "excess": spread([ours / theirs - 1 for ours, theirs in pairs]),
            }
        )
    print(json.dumps(found))


def run() -> None:
    found = in_own_process("harness")
    rows = [
        [
            row["model"],
            shown(row["fit"], " s", 3),
            shown(row["bare"], " s", 3),
            f"{100 * row['excess']['median']:+.1f} %",
        ]
        for row in found
    ]
    table(
        "an epoch of fit against a bare loop, one thread", ["model", "fit", "bare", "excess"], rows
    )
    save("harness", found, by_processor=True)


if __name__ == "__main__":
    child()
