"""Scores of trained replicates on a split: predictions, confusion matrices, spreads and intervals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from ..data.bloodmnist import CLASS_NAMES
from ..errors import DataError

if TYPE_CHECKING:
    import torch

N_BOOTSTRAP = 1000


def load_model(trial: FrozenTrial) -> torch.nn.Module:
    """A replicate's network with its trained weights, on the CPU.

    Raises DataError when the weights are not its own.
    """
    from ...models import build_model
    from ..training.checkpoint import load
    from ..training.config import TrialConfig

    path = Path(trial.user_attrs["weights"])
    model = build_model(TrialConfig.model_validate(trial.user_attrs["config"]).model)
    try:
        model.load_state_dict(load(path)["state_dict"])
    except (DataError, LookupError, TypeError, AttributeError, RuntimeError):
        raise DataError(
            f"{path} does not hold the weights of replicate {trial.number}; move it away and run "
            "`bloodsearch final-eval` again, which trains it anew"
        ) from None
    return model


def predictor(trial: FrozenTrial) -> Callable[[NDArray[np.uint8]], NDArray[np.float64]]:
    """A function from uint8 images (n, 28, 28, 3) to class probabilities (n, 8).

    Raises DataError when the trial's weights are not its own.
    """
    import torch

    from ..training.predict import predict_logits

    model = load_model(trial)

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float64]:
        logits = predict_logits(model, torch.from_numpy(images), torch.float32)
        probabilities: NDArray[np.float64] = logits.double().softmax(dim=1).numpy()
        return probabilities

    return predict


def spread(values: list[float]) -> dict[str, Any]:
    """Mean, standard deviation over replicates (n - 1; 0 for one) and the values themselves."""
    std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(np.mean(values)), "std": std, "n": len(values), "values": values}


def bootstrap_interval(
    labels: NDArray[np.uint8], predictions: NDArray[np.int64]
) -> tuple[float, float]:
    """95 % percentile interval of the replicates' mean macro-F1 over resampled test images.

    labels (n,), predictions (r, n). It holds the finite test split's share of the uncertainty;
    the standard deviation over replicates holds the seeds'.
    """
    from scipy.stats import bootstrap

    from ..training.metrics import scores

    def mean_macro_f1(index: NDArray[np.int64]) -> float:
        rows = [confusion_of(labels[index], row[index]) for row in predictions]
        return float(np.mean([scores(confusion).macro_f1 for confusion in rows]))

    found = bootstrap(
        (np.arange(len(labels)),),
        mean_macro_f1,
        n_resamples=N_BOOTSTRAP,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(found.low), float(found.high)


def confusion_of(labels: NDArray[np.uint8], predictions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Counts (8, 8) of labels (n,) and predictions (n,): rows are true classes."""
    n = len(CLASS_NAMES)
    cells = labels.astype(np.int64) * n + predictions
    return np.bincount(cells, minlength=n * n).reshape(n, n)
