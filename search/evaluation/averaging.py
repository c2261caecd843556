"""Averaged predictions (over orientations, over replicates) and refits: declared, never the plain figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .scoring import confusion_of, spread

Images = NDArray[np.uint8]
Probabilities = NDArray[np.float64]
Predict = Callable[[Images], Probabilities]


@dataclass(frozen=True, slots=True)
class Averaging:
    """Averages that are scored beside the plain figure."""

    orientations: bool = False
    """Average each replicate's probabilities over the eight rotations and reflections."""
    replicates: bool = False
    """Average the probabilities of all replicates: one ensemble."""


PLAIN = Averaging()


def over_orientations(predict: Predict, images: Images) -> Probabilities:
    """Return mean probabilities (n, classes) over the eight orientations of images (n, s, s, c)."""
    import torch

    from ..training.augment import N_ORIENTATIONS, orient

    tensor = torch.from_numpy(images)
    n = N_ORIENTATIONS["dihedral"]
    turned = (orient(tensor, i).contiguous().numpy() for i in range(n))
    return np.asarray(sum(predict(batch) for batch in turned)) / n


def averaged(
    wanted: Averaging, predict: Sequence[Predict], images: Images, labels: NDArray[np.uint8]
) -> list[dict[str, Any]]:
    """Return the scores of each option in `wanted`: its name, macro-F1 and accuracy over its models."""
    plain = [p(images) for p in predict] if wanted.replicates else []
    options = []
    if wanted.orientations:
        turned = [over_orientations(p, images) for p in predict]
        options.append(_scored("each replicate averaged over eight orientations", turned, labels))
    if wanted.replicates:
        options.append(_scored(f"ensemble of {len(plain)} replicates", [_mean(plain)], labels))
    if wanted.orientations and wanted.replicates:
        what = f"ensemble of {len(plain)} replicates, over eight orientations"
        options.append(_scored(what, [_mean(turned)], labels))
    return options


def scored_refits(
    predict: Sequence[Predict], images: Images, labels: NDArray[np.uint8]
) -> list[dict[str, Any]]:
    """Return the scores of models that were trained on train and validation together; [] without models."""
    if not predict:
        return []
    return [_scored("trained on train and validation", [p(images) for p in predict], labels)]


def _mean(probabilities: Sequence[Probabilities]) -> Probabilities:
    return np.asarray(np.mean(probabilities, axis=0))


def _scored(
    what: str, probabilities: Sequence[Probabilities], labels: NDArray[np.uint8]
) -> dict[str, Any]:
    from ..training.metrics import scores

    rows = [scores(confusion_of(labels, p.argmax(axis=1), p.shape[1])) for p in probabilities]
    return {
        "option": what,
        "test_macro_f1": spread([row.macro_f1 for row in rows]),
        "test_accuracy": spread([row.accuracy for row in rows]),
    }
