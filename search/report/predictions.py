"""Run the final evaluation's models on the validation images, to show which classes they confuse.

The test split stays closed: looking at its images would be an opening without a ledger row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """What r replicates say of n validation images."""

    probabilities: NDArray[np.float64]
    """(r, n, classes)."""
    counts: NDArray[np.int64]
    """Confusion matrix summed over replicates: rows are true classes."""
    predict: Sequence[Callable[[NDArray[np.uint8]], NDArray[np.float64]]]
    """Each replicate: from images to probabilities."""

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Return the predicted classes (r, n)."""
        return np.asarray(self.probabilities.argmax(axis=2))


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
        predict = [predictor(trial) for trial in trained]
        probabilities = np.stack([p(images) for p in predict])
    except (BloodsearchError, optuna.exceptions.OptunaError) as error:
        return None, str(error)
    n_classes = len(study.about.classes)
    counts = sum(confusion_of(labels, p.argmax(axis=1), n_classes) for p in probabilities)
    return ValidationPredictions(probabilities, np.asarray(counts), predict), ""
