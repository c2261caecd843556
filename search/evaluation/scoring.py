"""Scores of trained replicates on a split: predictions, confusion matrices, spreads and intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from ..errors import DataError
from ..records import trial_record

if TYPE_CHECKING:
    import torch

N_BOOTSTRAP = 1000


def load_model(trial: FrozenTrial) -> torch.nn.Module:
    """Return a replicate's network with its trained weights, on the CPU.

    Raises DataError when the weights are not its own.
    """
    from ...models import build_model
    from ..training.checkpoint import load
    from ..training.config import TrialConfig

    record = trial_record(trial)
    path = Path(record.weights or "")
    config = TrialConfig.model_validate(record.config)
    model = build_model(config.model)
    try:
        payload = load(path)
        # a file of another trial may fit: two configurations can have the same architecture
        if (text := payload.get("config")) and TrialConfig.model_validate_json(text) != config:
            raise ValueError("config")
        if payload.get("seed", record.seed) != record.seed:
            raise ValueError("seed")
        model.load_state_dict(payload["state_dict"])
    except (DataError, LookupError, TypeError, ValueError, AttributeError, RuntimeError):
        raise DataError(
            f"{path} does not hold the weights of replicate {trial.number}; move it away and run "
            "the same `bloodsearch final-eval` again, which trains it again"
        ) from None
    return model


def predictor(trial: FrozenTrial) -> Callable[[NDArray[np.uint8]], NDArray[np.float64]]:
    """Return a function from uint8 images (n, s, s, c) to class probabilities (n, classes).

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


def spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Return mean, standard deviation over replicates (n - 1; None for one) and the values themselves."""
    values_present = [value for value in values if value is not None]
    return {
        "mean": float(np.mean(values_present)) if values_present else None,
        "std": float(np.std(values_present, ddof=1)) if len(values_present) > 1 else None,
        "n": len(values),
        "values": list(values),
    }


def class_scores(
    counts: NDArray[np.int64], classes: Sequence[str], n_replicates: int = 1
) -> list[dict[str, Any]]:
    """Return name, precision, recall, F1 and images of each class.

    Args:
        counts: Confusion matrix summed over replicates; rows are true classes.
        classes: Their names.
        n_replicates: How often each image was counted.
    """
    from ..training.metrics import scores

    pooled = scores(counts)
    return [
        {
            "name": name,
            "precision": float(pooled.precision[i]),
            "recall": float(pooled.recall[i]),
            "f1": float(pooled.f1[i]),
            "n": int(counts[i].sum()) // n_replicates,
        }
        for i, name in enumerate(classes)
    ]


def macro_auc(labels: NDArray[np.uint8], probabilities: NDArray[np.float64]) -> float | None:
    """Return the mean over the classes present of the area under each one-against-rest ROC curve.

    labels (n,), probabilities (n, classes). None where fewer than two classes are present.
    """
    from sklearn.metrics import roc_auc_score

    present = np.unique(labels)
    if len(present) < 2:
        return None
    return float(np.mean([roc_auc_score(labels == c, probabilities[:, c]) for c in present]))


def with_interval(
    macro: dict[str, Any],
    labels: NDArray[np.uint8],
    predictions: NDArray[np.int64],
    n_resamples: int = N_BOOTSTRAP,
) -> dict[str, Any]:
    """Return the spread of macro-F1 over replicates with its 95 % intervals.

    "interval_95" covers other test images only (bootstrap). "interval_95_images_and_seeds" covers other
    images and other seeds; it is None for one replicate, whose spread over seeds is unknown.

    Args:
        macro: The spread of the replicates' macro-F1.
        labels: True classes (n,).
        predictions: Predicted classes (r, n) of r replicates.
        n_resamples: Draws of the bootstrap over images.
    """
    low, high, error = _bootstrap(labels, predictions, n_resamples)
    both = None
    if macro["std"] is not None:
        both = _images_and_seeds(macro["mean"], macro["std"], macro["n"], error)
    return {**macro, "interval_95": (low, high), "interval_95_images_and_seeds": both}


def _images_and_seeds(mean: float, std: float, n: int, image_error: float) -> tuple[float, float]:
    """Return Student's interval of a mean with two sources of error, degrees of freedom by Satterthwaite.

    The images' error comes from thousands of images: its degrees of freedom count as infinite.
    """
    from scipy.stats import t

    seed_variance = std**2 / n
    variance = seed_variance + image_error**2
    if variance == 0:
        return mean, mean
    freedom = math.inf if seed_variance == 0 else variance**2 / (seed_variance**2 / (n - 1))
    half = float(t.ppf(0.975, freedom)) * math.sqrt(variance)
    return mean - half, mean + half


def _bootstrap(
    labels: NDArray[np.uint8], predictions: NDArray[np.int64], n_resamples: int
) -> tuple[float, float, float]:
    """Resample images: 95 % percentile interval and standard error of the replicates' mean macro-F1."""
    from scipy.stats import bootstrap

    from ..training.metrics import scores

    n_classes = int(max(labels.max(), predictions.max())) + 1

    def mean_macro_f1(index: NDArray[np.int64]) -> float:
        rows = [confusion_of(labels[index], row[index], n_classes) for row in predictions]
        return float(np.mean([scores(confusion).macro_f1 for confusion in rows]))

    resampled = bootstrap(
        (np.arange(len(labels)),),
        mean_macro_f1,
        n_resamples=n_resamples,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    interval = resampled.confidence_interval
    return float(interval.low), float(interval.high), float(resampled.standard_error)


def confusion_of(
    labels: NDArray[np.uint8], predictions: NDArray[np.int64], n: int
) -> NDArray[np.int64]:
    """Return counts (n, n) of the labels and predictions of images, in n classes: rows are true classes."""
    cells = labels.astype(np.int64) * n + predictions
    return np.bincount(cells, minlength=n * n).reshape(n, n)
