"""Replicates that were never trained, with weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from optuna.trial import FrozenTrial, TrialState, create_trial

from bloodsearch.models import build_model
from bloodsearch.search.training import checkpoint
from bloodsearch.search.training.config import TrialConfig


def trained(folder: Path, model: dict[str, Any], seed: int = 0) -> FrozenTrial:
    """A replicate with random weights that are not all alike, and a file that holds them."""
    config = TrialConfig.model_validate(
        {"model": model, "optimizer": {"name": "adam", "lr": 1e-3},
         "loss": {"name": "cross_entropy"}, "epochs": 1}
    )  # fmt: skip
    torch.manual_seed(seed)
    network = build_model(config.model)
    for name, value in network.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            value.uniform_(0.5, 1.5)
    path = folder / f"{model['arch']}-{seed}.weights.pt"
    checkpoint.save(path, {"state_dict": network.state_dict(), "config": ""})
    return create_trial(
        state=TrialState.COMPLETE,
        value=0.5 + seed / 100,
        user_attrs={
            "config": config.model_dump(mode="json"),
            "weights": str(path),
            "seed": seed,
            "versions": {},
            "device": "cpu",
            "precision": "float32",
        },
    )
