"""Build the section about the data: samples, class counts, and what the checks say."""

from __future__ import annotations

import functools

import numpy as np

from ..data.checks import check_images
from ..data.load import Dataset
from . import data_figures
from .gather import Gathered
from .parts import Picture, Section, Table


def data(study: Gathered) -> Section:
    """Show samples and class counts of the training and validation splits, and check the images."""
    if study.dataset is None:
        return Section("The data", warnings=[f"There are no pictures of the data: {study.no_data}"])
    dataset = study.dataset
    info = dataset.info
    describe = dataset.fingerprint.describe()
    samples = "Eight images of each class, as the models see them"
    checks = check_images(
        (dataset.train_images, dataset.train_labels),
        (dataset.val_images, dataset.val_labels),
        info.classes,
    )
    return Section(
        "The data",
        [
            f"{describe[0].upper()}{describe[1:]}: {info.n_images['train']:,} training, "
            f"{info.n_images['val']:,} validation and {info.n_images['test']:,} test images of {info.pixels} "
            f"pixels in {len(info.classes)} classes. "
            "The test split is sealed. The only numbers on this page that come from it are those of "
            "the final evaluation."
        ],
        [
            Picture(
                "samples",
                "Eight images of each class: the first of the training split",
                functools.partial(data_figures.samples, dataset, samples),
            ),
            classes_picture(dataset),
        ],
        [_classes_table(dataset)],
        [f"{finding[0].upper()}{finding[1:]}." for finding in checks.findings()],
    )


def class_counts(dataset: Dataset) -> dict[str, list[int]]:
    """Return the images of each class in the training and validation splits."""
    return {
        split: np.bincount(labels, minlength=len(dataset.info.classes)).tolist()
        for split, labels in (("train", dataset.train_labels), ("validation", dataset.val_labels))
    }


def classes_picture(dataset: Dataset) -> Picture:
    """Return the picture of the class counts by split."""
    counts, classes = class_counts(dataset), dataset.info.classes
    total = np.sum(list(counts.values()), axis=0)
    small, large = int(total.argmin()), int(total.argmax())
    title = (
        f"The rarest class ({classes[small]}) has "
        f"{total[small] / total[large]:.0%} of the images of the largest ({classes[large]})"
    )
    draw = functools.partial(data_figures.distribution, counts, classes, title)
    return Picture("classes", title, draw)


def _classes_table(dataset: Dataset) -> Table:
    counts = class_counts(dataset)
    total = np.sum(list(counts.values()), axis=0)
    rows = [
        (name, *(counts[split][i] for split in counts), int(total[i]), 100 * total[i] / total.sum())
        for i, name in enumerate(dataset.info.classes)
    ]
    columns = ["class", *counts, "both", "% of both"]
    return Table("classes", "Images of each class", columns, rows, digits=1)
