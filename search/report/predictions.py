"""The final evaluation's models on the validation images: which are taken for which, and their pictures.

The test split stays closed: looking at its images would be an opening that no ledger knows.
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
    """`predicted` (r, n) classes of r replicates; `counts` (8, 8) summed over them."""

    predicted: NDArray[np.int64]
    counts: NDArray[np.int64]


def predict_validation(
    storage: Storage, study: Gathered
) -> tuple[ValidationPredictions | None, str]:
    """The replicates' predictions of the validation split, or None and why there are none."""
    final = study.final
    if final is None or study.dataset is None:
        return (
            None,
            study.no_data or "they need trained weights, which `bloodsearch final-eval` keeps",
        )
    from ..evaluation.scoring import confusion_of, predictor

    try:
        trained = evaluated_replicates(storage, study.info.name, final)
        found = [predictor(trial)(study.dataset.val_images).argmax(axis=1) for trial in trained]
    except (BloodsearchError, optuna.exceptions.OptunaError) as error:
        return None, str(error)
    predicted = np.stack(found)
    counts = np.sum([confusion_of(study.dataset.val_labels, row) for row in predicted], axis=0)
    return ValidationPredictions(predicted, counts), ""
