"""Optimizers without torch._dynamo: the same steps as torch's own, and nothing imported."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from bloodsearch.search.training import eager

OPTIONS = {"fused": True, "lr": 0.01, "weight_decay": 0.1}
TRAIN = """
import sys, torch
from bloodsearch.search.data.load import load_dataset
from bloodsearch.search.sampling.space import to_config
from bloodsearch.search.training.device import to_device
from bloodsearch.search.training.fit import fit
from bloodsearch.search.trial import objective
data = to_device(load_dataset("synthetic"), torch.device("cpu"))
for optimizer in ("sgd", "adam", "adamw", "muon"):
    point = {"optimizer": optimizer, "batch_size": 256, "ema": 0.9}
    point |= {"sgd_lr" if optimizer == "sgd" else "lr": 0.01}
    cnn = {"arch": "cnn", "cnn_blocks": 1, "cnn_width": 2}
    point |= cnn if optimizer == "muon" else {"arch": "mlp", "mlp_width": 8}
    fit(to_config(point, epochs=1, patience=0), data, seed=0)
print("torch._dynamo" in sys.modules)
"""


@pytest.mark.parametrize(
    ("ours", "torchs", "options"),
    [
        (eager.SGD, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        (eager.Adam, torch.optim.Adam, {}),
        (eager.AdamW, torch.optim.AdamW, {}),
    ],
)
def test_steps_are_torchs_to_the_bit(
    ours: type[torch.optim.Optimizer],
    torchs: type[torch.optim.Optimizer],
    options: dict[str, object],
) -> None:
    """After `torchs` has stepped, too: torch wraps `step` of a class at its first instance."""
    ends = []
    for kind in (torchs, ours):
        weights = torch.nn.Parameter(torch.linspace(-1, 1, 12).reshape(3, 4))
        optimizer = kind([weights], **OPTIONS, **options)  # type: ignore[arg-type]
        for step in range(1, 4):
            optimizer.zero_grad()
            (weights**3 * step).sum().backward()
            optimizer.step()
            optimizer.load_state_dict(optimizer.state_dict())
        ends.append(weights.detach())
    assert torch.equal(*ends)


def test_a_training_imports_no_compiler() -> None:
    """It took 0.9 s of a worker's start, and 71 MB."""
    shown = subprocess.run(
        [sys.executable, "-c", TRAIN], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert shown == "False\n"
