"""Predict the classes of images with an exported file, without PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..images.read import Item
from ..model_file.predict import BATCH, Classifier, load_classifier, read_items
from ..model_file.sources import list_sources


@dataclass(frozen=True, slots=True)
class Prediction:
    """The class of one image."""

    file: str
    label: int
    class_name: str
    probability: float
    probabilities: dict[str, float] = field(repr=False)
    """The probability of each class, by its name."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """The classes of all images that could be read."""

    model: Path
    classes: tuple[str, ...]
    predictions: tuple[Prediction, ...]
    skipped: dict[str, str]
    """The reason why an image was skipped, by its name."""
    left_out: tuple[Path, ...]
    """What a folder holds beside images: files of other kinds, and folders unless they are read, too."""
    provenance: dict[str, Any] = field(repr=False)
    """Where the model comes from."""


def predict(
    source: str | Path,
    *,
    model: str | Path,
    key: str | None = None,
    recursive: bool = False,
    on_file: Callable[[Path], object] = lambda path: None,
) -> Predictions:
    """Predict the class of each image in a file or folder.

    Args:
        source: A PNG, JPEG, TIFF, BMP, WebP or GIF image, a folder of images, or an .npz file.
        model: A file that `export` has written in the format "onnx".
        key: The array of an .npz file; default "images".
        recursive: Whether to read the folders in a folder, too.
        on_file: Receives each file before it is read.

    Images that cannot be read are skipped. Raises UsageError if no image or no model is there.
    """
    classifier = load_classifier(Path(model))
    predictions: list[Prediction] = []
    sources = list_sources(Path(source), recursive=recursive)
    skipped = {f"{path}/": f"cannot be read ({why})" for path, why in sources.unreadable.items()}
    for items in _batches(classifier, sources.files, key, on_file):
        skipped |= {item.name: str(item.problem) for item in items if item.image is None}
        predictions += _predict(classifier, [item for item in items if item.image is not None])
    return Predictions(
        Path(model),
        classifier.classes,
        tuple(predictions),
        skipped,
        tuple(sources.left_out),
        classifier.provenance,
    )


def _batches(
    classifier: Classifier, sources: list[Path], key: str | None, on_file: Callable[[Path], object]
) -> Iterator[list[Item]]:
    """Yield at most BATCH images at a time: a folder may hold a million."""
    batch: list[Item] = []
    for path in sources:
        on_file(path)
        for item in read_items(path, key, classifier.rule):
            batch.append(item)
            if len(batch) == BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


def _predict(classifier: Classifier, items: list[Item]) -> list[Prediction]:
    if not items:
        return []
    images = np.stack([item.image for item in items if item.image is not None])
    predictions = []
    for item, row in zip(items, classifier.probabilities(images), strict=True):
        label = int(row.argmax())
        by_name = dict(zip(classifier.classes, (float(p) for p in row), strict=True))
        name = classifier.classes[label]
        predictions.append(Prediction(item.name, label, name, float(row[label]), by_name))
    return predictions
