"""Run the final evaluation's models on the validation images, to show which classes they confuse.

The test split stays closed: looking at its images would be an opening without a ledger row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray

from ..database.storage import Storage
from ..errors import BloodsearchError
from ..evaluation.evaluated import evaluated_replicates
from .gather import Gathered


@dataclass(frozen=True, slots=True)
class ValidationPredictions:
    """Classes `predicted` (r, n) by r replicates, and `counts` (classes, classes) summed over them."""

    predicted: NDArray[np.int64]
    counts: NDArray[np.int64]


def predict_validation(
    storage: Storage, study: Gathered
) -> tuple[ValidationPredictions | None, str]:
    """Return the replicates' predictions of the validation split, or None and why there are none."""
    result = study.stored_result
    if result is None or study.dataset is None:
        return (
            None,
            study.no_data or "they need trained weights, which `bloodsearch final-eval` keeps",
        )
    from ..evaluation.scoring import confusion_of, predictor

    images, labels = study.dataset.val_images, study.dataset.val_labels
    try:
        trained = evaluated_replicates(storage, study.info.name, result)
        rows = [predictor(trial)(images).argmax(axis=1) for trial in trained]
    except (BloodsearchError, optuna.exceptions.OptunaError) as error:
        return None, str(error)
    counts = np.sum([confusion_of(labels, row, len(study.about.classes)) for row in rows], axis=0)
    return ValidationPredictions(np.stack(rows), counts), ""
