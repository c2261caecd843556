"""The models that the engine is measured with, taken from the study files that ship."""

from __future__ import annotations

import math

import torch
from torch.utils.flop_counter import FlopCounterMode

from bloodsearch.models import build_model
from bloodsearch.models.config import ModelConfig
from bloodsearch.search.sampling.space import baseline_params, to_config, without_length
from bloodsearch.search.training.config import TrialConfig
from bloodsearch.studies import PARAMETERS, Entry, Range, StudyFile, Value, load_study_file

BASELINES = {
    "A CNN": ("report_a", "A-cnn"),
    "A MLP": ("report_a", "A-mlp"),
    "B CNN": ("report_b", "B-cnn-4"),
    "B MLP": ("report_b", "B-mlp-4"),
}
MEDIAN_CNN = "median CNN"
WIDE = {"wide CNN": 64, "wide CNN, half": 32, "wide CNN, quarter": 16}
"""Filters of the first block. "wide CNN" is what a long final training gains most from."""
CASES = (*BASELINES, MEDIAN_CNN, *WIDE)


def case(name: str, *, epochs: int, patience: int = 0) -> TrialConfig:
    """The configuration called `name`, one of CASES."""
    if name in WIDE:
        params = wide_params(WIDE[name])
    elif name == MEDIAN_CNN:
        params = median_params(load_study_file("bloodmnist"), arch="cnn")
    else:
        study, baseline_name = BASELINES[name]
        found = {b.name: b for b in load_study_file(study).baselines}[baseline_name]
        params = baseline_params(found)
    return to_config(without_length(params), epochs=epochs, patience=patience)


def wide_params(width: int) -> dict[str, Value]:
    """A residual CNN of three blocks with BatchNorm, trained by Muon on orientations and shifts."""
    return {
        "arch": "cnn",
        "optimizer": "muon",
        "lr": 5e-3,
        "weight_decay": 1e-3,
        "batch_size": 128,
        "loss": "cross_entropy",
        "label_smoothing": 0.1,
        "schedule": "one_cycle",
        "augment": "dihedral",
        "shift": 2,
        "cnn_blocks": 3,
        "cnn_width": width,
        "cnn_growth": 2.0,
        "cnn_convs": 2,
        "cnn_residual": True,
        "cnn_norm": True,
        "cnn_head": "mean",
        "cnn_hidden": "none",
        "cnn_dropout": 0.0,
    }


def median_params(study: StudyFile, *, arch: str) -> dict[str, Value]:
    """The middle of every parameter of a space (of two choices the second), for one family."""
    params = {name: _middle(name, entry) for name, entry in study.space.items()}
    return params | {"arch": arch}


def _middle(name: str, entry: Entry) -> Value:
    if isinstance(entry, tuple):
        return entry[len(entry) // 2]
    if not isinstance(entry, Range):
        return entry
    middle = math.sqrt(entry.low * entry.high) if entry.log else (entry.low + entry.high) / 2
    if entry.step is not None:
        middle = entry.low + entry.step * round((middle - entry.low) / entry.step)
    return round(middle) if PARAMETERS[name].kind is int else middle


def flops_per_image(config: ModelConfig) -> tuple[float, float]:
    """Floating-point operations of convolutions and matrix products: (forward, forward + backward)."""
    model, n = build_model(config).train(), 8
    images = torch.zeros(n, 3, 28, 28)
    with FlopCounterMode(display=False) as forward:
        logits = model(images)
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    total = forward.get_total_flops()
    return total / n, (total + backward.get_total_flops()) / n
