"""Build the sections with the winner's most confident mistakes, and with where it looks.

All images are of the validation split. The test images are never shown: a person who has seen the mistakes on
test would mend those, and the next test score would be too high.
"""

from __future__ import annotations

import functools

import numpy as np

from . import tiles
from .gather import Gathered
from .parts import Picture, Section, Table
from .predictions import ValidationPredictions
from .saliency import Images, Occlusion, occlusion
from .words import plural

N_MISTAKES = 12
PER_CLASS = 3
MOST_CLASSES = 12
LEAST_DROP = 0.5
"""Nats. A map whose largest drop is smaller is drawn without heat: no single spot matters."""


def mistakes(study: Gathered, predictions: ValidationPredictions | None, why: str) -> Section:
    """Show the validation images that the replicates together got wrong with the highest probability."""
    name = "The most confident mistakes"
    if predictions is None or study.dataset is None:
        return Section(name, warnings=[f"There are no pictures: {why}."])
    images, labels = study.dataset.val_images, study.dataset.val_labels
    classes, short = study.about.classes, study.about.short_classes
    mean = predictions.probabilities.mean(axis=0)
    guess = mean.argmax(axis=1)
    wrong = np.flatnonzero(guess != labels)
    if not len(wrong):
        return Section(name, ["No validation image is misclassified."])
    order = wrong[np.argsort(-mean[wrong, guess[wrong]], kind="stable")]
    n, rows, shown = len(predictions.probabilities), [], []
    for i in order[:N_MISTAKES]:
        true, said, sure = int(labels[i]), int(guess[i]), float(mean[i, guess[i]])
        agree = int((predictions.predicted[:, i] == said).sum())
        rows.append((int(i), classes[true], classes[said], sure, f"{agree} of {n}"))
        below = f"{short[true]},\nsaid {short[said]}\n{sure:.3f}"
        shown.append(tiles.Tile(images[i], below))
    high = int((mean[order, guess[order]] >= 0.9).sum())
    title = (
        f"{len(wrong)} of {len(labels):,} validation images are misclassified, {high} of them with a "
        "probability of 0.9 or more"
    )
    text = [
        f"Probabilities are means over {plural(n, 'replicate')}. Below each image: its true class, what "
        "the model said, and with which probability. Ask an expert to look at them: a confident mistake is "
        "either a wrong label or a wrong model."
    ]
    columns = ["image", "true class", "model says", "probability", "replicates that agree"]
    table = Table(
        "confident_mistakes", "The most confident mistakes on validation", columns, rows,
        "`image` counts the images of the validation split from 0.", folded=True,
    )  # fmt: skip
    picture = Picture("mistakes", title, functools.partial(tiles.mosaic, shown, title))
    return Section(name, text, [picture], [table])


def looks(study: Gathered, predictions: ValidationPredictions | None, why: str) -> Section:
    """Show, for a few validation images of each class, which spots the predicted class depends on."""
    name = "Where the model looks"
    if predictions is None or study.dataset is None:
        return Section(name, warnings=[f"There are no pictures: {why}."])
    images, labels = study.dataset.val_images, study.dataset.val_labels
    fill = np.round(study.dataset.train_images.mean(axis=(0, 1, 2))).astype(np.uint8)
    predict, short = predictions.predict[0], study.about.short_classes
    shown = []
    for c in range(min(len(short), MOST_CLASSES)):
        for i in np.flatnonzero(labels == c)[:PER_CLASS]:
            found = occlusion(predict, images[i], fill)
            said = int(predictions.predicted[0, i])
            mark = "" if said == c else f",\nsaid {short[said]}"
            shown.append(tiles.Tile(images[i], f"{short[c]}{mark}"))
            below = f"{found.probability:.3f} to {found.lowest:.3f}"
            shown.append(tiles.Tile(_map(images[i], found), below))
    title = f"The first {PER_CLASS} validation images of each class, and where covering hurts"
    text = [
        "A patch a quarter as wide as the image, in the mean colour of the training images, covers one spot "
        "after another. The brighter a spot, the more the predicted class loses when it is covered, "
        "compared with the other spots of the same image. Below each map: the probability of the predicted "
        "class with nothing covered, and the lowest with a spot covered. A map that is bright on the "
        "background or at the edge is a warning: the model may have learned the slide and not the subject.",
        "The maps are of the first replicate. A dark map means that no single spot matters.",
    ]
    picture = Picture("saliency", title, functools.partial(tiles.mosaic, shown, title, 4))
    return Section(name, text, [picture])


def _map(image: Images, found: Occlusion) -> Images:
    drop = np.maximum(found.drop, 0)
    return tiles.heat(image, drop / max(float(drop.max()), LEAST_DROP))
