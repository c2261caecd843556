"""Made-up trials: what reports are tested with, without any training."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
from optuna.trial import TrialState, create_trial
from tests_support import tiny_study

from bloodsearch.search.data.registry import registered
from bloodsearch.search.sampling.space import distribution, suggest

START = datetime.datetime(2026, 1, 1, 12)
MakeStudy = Callable[..., optuna.Study]
RESULT: dict[str, Any] = {
    "study": "tiny",
    "dataset": "the synthetic set",
    "data_hash": "x",
    "params": {},
    "test_openings": 1,
    "trial": 7,
    "replicates": 2,
    "seeds": [1, 2],
    "confusion_matrix": (40 * np.eye(8, dtype=int) + np.eye(8, k=2, dtype=int)).tolist(),
    "per_class": [
        {"name": name, "precision": 0.9, "recall": 0.9, "f1": 0.9, "n": 20}
        for name in registered("bloodmnist").classes
    ],
    "search_value": 0.93,
    "search_value_minus_replicates": 0.01,
} | {
    key: {"mean": 0.9, "std": 0.01, "n": 2, "values": [0.89, 0.91], "interval_95": [0.88, 0.92]}
    for key in ("test_macro_f1", "test_accuracy", "test_weighted_f1", "test_auc", "val_macro_f1")
}  # fmt: skip
"""What a final evaluation of trial 7 with two replicates leaves, as earlier versions stored it."""


def client_trial(study: optuna.Study, value: float | None, **params: object) -> None:
    """Queue, claim and end a trial as another Optuna program does; without a value it is pruned.

    The parameters may be outside the study's space: Optuna warns and takes them.
    """
    space = {name: distribution(name, entry) for name, entry in tiny_study().space.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study.enqueue_trial(params)
        trial = study.ask({name: space[name] for name in params})  # type: ignore[misc]
    study.tell(trial, value, TrialState.PRUNED if value is None else None)


def fake_trial(study: optuna.Study, number: int, value: float | None, **attrs: object) -> None:
    """Add a finished trial: complete with `value`, pruned without; it took a minute."""
    file = tiny_study()
    sampler = optuna.trial.FixedTrial(
        {
            "arch": ("mlp", "cnn")[number % 2],
            "lr": 10 ** (-4 + 3 * ((number * 0.37) % 1)),
            "mlp_width": 8,
            "cnn_width": 4,
        }
    )
    params = suggest(sampler, file)
    searched = {n: v for n, v in params.items() if distribution(n, file.space[n]) is not None}
    final = value if value is not None else 0.3
    curve = attrs.pop("curve", None) or [final - 0.2, final - 0.1, final]
    stored: dict[str, object] = {
        "family": params["arch"],
        "params": params,
        "seed": number,
        "stop_reason": "all epochs trained" if value is not None else "pruned: below its peers",
        "epochs": 3,
    }
    if value is not None:
        rows = np.full((8, 8), 1) + 20 * np.eye(8, dtype=int)
        rows[3, 5] = 9
        stored |= {
            "best_epoch": 3,
            "n_parameters": 1000 + number,
            "train_seconds": 10.0 + number,
            "val_accuracy": 0.9,
            "confusion": rows.tolist(),
            "train_losses": [1.0, 0.8, 0.6],
            "val_losses": [1.1, 0.9, 0.7],
            "config": {"schedule": "constant", "epochs": 3},
            "versions": {"torch": "2"},
        }
    trial = create_trial(
        state=TrialState.COMPLETE if value is not None else TrialState.PRUNED,
        value=value if value is not None else final,
        params=searched,
        distributions={name: distribution(name, file.space[name]) for name in searched},  # type: ignore[misc]
        user_attrs=stored | attrs,
        intermediate_values=dict(enumerate(curve, start=1)),  # type: ignore[arg-type]
    )
    trial.datetime_start = START + datetime.timedelta(seconds=30 * number)
    trial.datetime_complete = trial.datetime_start + datetime.timedelta(seconds=60)
    study.add_trial(trial)
