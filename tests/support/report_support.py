"""Made-up trials: what reports are tested with, without any training."""

from __future__ import annotations

import datetime
import warnings
from collections.abc import Callable

import numpy as np
import optuna
from optuna.trial import TrialState, create_trial
from tests_support import tiny_study

from bloodsearch.search.sampling.space import distribution, suggest

START = datetime.datetime(2026, 1, 1, 12)
MakeStudy = Callable[..., optuna.Study]


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
