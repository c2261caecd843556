"""The scores of a final evaluation, as `result.json` holds them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from ..data.info import DatasetInfo
from ..data.published import published
from ..records import trial_record
from ..study import StudyInfo
from .class_intervals import f1_intervals
from .scoring import class_scores, confusion_of, macro_auc, spread, with_interval


def final_scores(
    study_info: StudyInfo,
    winner: FrozenTrial,
    trained: list[FrozenTrial],
    probabilities: list[NDArray[np.float64]],
    labels: NDArray[np.uint8],
    validation: list[float],
) -> dict[str, Any]:
    """Return what `result.json` says of the winner, of its replicates and of their scores.

    Args:
        study_info: The search.
        winner: Its trial that was trained again.
        trained: The trained replicates.
        probabilities: Each replicate's predictions (n, classes) of the test split.
        labels: The test split's classes (n,).
        validation: Each replicate's macro-F1 on the validation split.
    """
    from ..training.metrics import scores

    classes = study_info.dataset.classes
    predictions = np.stack([p.argmax(axis=1) for p in probabilities])
    confusions = np.stack([confusion_of(labels, row, len(classes)) for row in predictions])
    scored = [scores(confusion) for confusion in confusions]
    records = [trial_record(trial) for trial in trained]
    macro = with_interval(spread([s.macro_f1 for s in scored]), labels, predictions)
    return {
        "study": study_info.name,
        "dataset": study_info.fingerprint.describe(),
        "data_hash": study_info.fingerprint.content_hash,
        "trial": winner.number,
        "params": records[0].params or trial_record(winner).params,
        "config": records[0].config,
        "n_parameters": records[0].n_parameters,
        "replicates": len(trained),
        "seeds": [record.seed for record in records],
        "test_macro_f1": macro,
        "test_accuracy": spread([s.accuracy for s in scored]),
        "test_weighted_f1": spread([s.weighted_f1 for s in scored]),
        "test_auc": spread([macro_auc(labels, p) for p in probabilities]),
        **_of_task(study_info.dataset, confusions),
        "per_class": _with_intervals(
            class_scores(confusions.sum(axis=0), classes, len(trained)), labels, predictions
        ),
        "confusion_matrix": confusions.sum(axis=0).tolist(),
        "confusion_matrices": confusions.tolist(),
        "val_macro_f1": spread(validation),
        "search_value": winner.value,
        "search_value_minus_replicates": float(winner.value or 0.0) - float(np.mean(validation)),
        "published_28x28": published(study_info.fingerprint.dataset),
        "train_seconds": [record.train_seconds for record in records],
        "versions": records[0].versions,
        "device": records[0].device,
        "training_precision": records[0].precision,
    }


def _with_intervals(
    per_class: list[dict[str, Any]], labels: NDArray[np.uint8], predictions: NDArray[np.int64]
) -> list[dict[str, Any]]:
    intervals = f1_intervals(labels, predictions, len(per_class))
    return [
        one | {"f1_interval_95": interval}
        for one, interval in zip(per_class, intervals, strict=True)
    ]


def _of_task(data: DatasetInfo, confusions: NDArray[np.int64]) -> dict[str, Any]:
    """Return the scores that only sets of this task have."""
    from ..training.metrics import quadratic_kappa

    if data.task != "ordinal":
        return {}
    return {"test_quadratic_kappa": spread([quadratic_kappa(matrix) for matrix in confusions])}


def macro_f1(labels: NDArray[np.uint8], probabilities: NDArray[np.float64]) -> float:
    """Return the macro-F1 of predictions (n, classes)."""
    from ..training.metrics import scores

    return scores(
        confusion_of(labels, probabilities.argmax(axis=1), probabilities.shape[1])
    ).macro_f1
