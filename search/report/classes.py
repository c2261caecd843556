"""The section on errors by class: the final evaluation on the test split, the winner on validation."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.bloodmnist import CLASS_NAMES
from ..records import Spread, spread_text
from . import class_figures, data_figures
from .gather import Gathered
from .parts import Cell, Picture, Section, Table
from .predictions import ValidationPredictions

N_IMAGES = 8
PER_CLASS_COLUMNS = ("class", "precision", "recall", "F1", "images")
Counts = NDArray[np.int64]


def final(study: Gathered) -> Section:
    """The final evaluation: scores with spread, confusion matrices, per-class scores."""
    name = "The final evaluation on the test split"
    result = study.final
    if result is None:
        opened = len(study.openings)
        return Section(
            name,
            warnings=[
                f"There is none yet (the test split was opened {opened} times for this study). "
                "`bloodsearch final-eval` retrains the winner with several seeds, opens the test "
                "split once and writes that down."
            ],
        )
    n, counts = result["replicates"], np.asarray(result["confusion_matrix"])
    macro = result["test_macro_f1"]
    per_class = result["per_class"]
    worst = min(per_class, key=lambda c: c["f1"])
    title = f"Weakest class on test: {worst['name']}, F1 {worst['f1']:.3f}"
    note = f"Summed over {n} replicates: each test image counts {times(n)}."
    bars = functools.partial(class_figures.per_class, per_class, title)
    rows = [(c["name"], c["precision"], c["recall"], c["f1"], c["n"]) for c in per_class]
    return Section(
        name,
        [
            f"Trial {result['trial']} was retrained with {n} fresh seeds. The test split was opened "
            f"{times(len(study.openings))} for this study. Test macro-F1 {macro['mean']:.4f}, "
            f"{spread_text(Spread.read(macro))}. The search value was {result['search_value']:.4f}, "
            f"{result['search_value_minus_replicates']:+.4f} against the replicates' mean on validation."
        ],
        [*confusion_pictures("confusion", counts, note), Picture("per-class", title, bars)],
        [
            _scores(result),
            Table("per_class", "Scores of each class on test", PER_CLASS_COLUMNS, rows, note),
            matrix(
                "confusion_matrix", "Confusion matrix on test: rows are true classes", counts, note
            ),
        ],
    )


def confusion_pictures(name: str, counts: Counts, note: str, whose: str = "") -> list[Picture]:
    """A confusion matrix (8, 8) twice: counts, and percent of each true class."""
    pairs = class_figures.confused_pairs(counts, 1)
    titles = [f"{whose}No image is misclassified"] * 2
    if pairs:
        true, predicted, n = pairs[0]
        error = f"{CLASS_NAMES[true]} taken for {CLASS_NAMES[predicted]}"
        total = int(counts[true].sum())
        titles = [
            f"{whose}Most frequent error: {error}, {n:,} of {total:,} images",
            f"{whose}Most frequent error: {error}, {100 * n / total:.1f}\u00a0% of the class",
        ]
    return [
        Picture(
            f"{name}-{kind}",
            title,
            functools.partial(class_figures.confusion, counts, title, kind == "percent"),
            note,
        )
        for kind, title in zip(("counts", "percent"), titles, strict=True)
    ]


def confusions(study: Gathered, found: ValidationPredictions | None, why: str) -> Section:
    """The most confused pairs on the validation split, with the images where there are predictions."""
    name = "What is taken for what"
    winner = study.winner
    if found is not None:
        counts = found.counts
        whose = f"{len(found.predicted)} retrained replicates of trial {winner.label if winner else '?'}"
    elif winner is not None and winner.confusion is not None:
        counts, whose = winner.confusion, f"trial {winner.label} at its best epoch"
    else:
        return Section(name, warnings=["No complete trial has a confusion matrix yet."])
    pairs = class_figures.confused_pairs(counts)
    rows = [
        (CLASS_NAMES[i], CLASS_NAMES[j], n, 100 * n / int(counts[i].sum())) for i, j, n in pairs
    ]
    table = Table(
        "confused_pairs", "The most confused pairs on validation",
        ["true class", "taken for", "images", "% of the true class"], rows, f"From {whose}.", digits=1,
    )  # fmt: skip
    text = [
        f"On the validation split, from {whose}. The images of the test split stay sealed, so the "
        "pictures here are validation images."
    ]
    if found is None or study.dataset is None:
        return Section(name, text, tables=[table], warnings=[f"No pictures: {why}."])
    shown = []
    for i, j, _ in pairs:
        hit = (found.predicted == j).sum(axis=0) * (study.dataset.val_labels == i)
        order = np.argsort(-hit, kind="stable")[: int((hit > 0).sum())][:N_IMAGES]
        shown.append(
            (f"{CLASS_NAMES[i]},\ntaken for\n{CLASS_NAMES[j]}", study.dataset.val_images[order])
        )
    if not shown:
        return Section(name, [*text, "No validation image is misclassified."])
    i, j, _ = pairs[0]
    title = (
        f"Images behind the most frequent errors, first {CLASS_NAMES[i]} taken for {CLASS_NAMES[j]}"
    )
    picture = Picture(
        "confused-pairs", title, functools.partial(data_figures.pairs, shown, title, N_IMAGES),
        "Images that most replicates get wrong come first.",
    )  # fmt: skip
    return Section(name, text, [picture], [table])


def matrix(name: str, title: str, counts: Any, note: str = "") -> Table:
    """A confusion matrix as a table."""
    rows: list[list[Cell]] = [[CLASS_NAMES[i], *map(int, row)] for i, row in enumerate(counts)]
    return Table(name, title, ["true class", *class_figures.SHORT], rows, note)


def times(n: int) -> str:
    return "once" if n == 1 else f"{n} times"


def _scores(result: dict[str, Any]) -> Table:
    labels = {
        "test_macro_f1": "test macro-F1",
        "test_weighted_f1": "test weighted F1",
        "test_accuracy": "test accuracy",
        "test_auc": "test AUC",
        "val_macro_f1": "validation macro-F1",
    }
    rows = [
        (label, spread.mean, spread.known_std, spread.n, spread.shown_values)
        for key, label in labels.items()
        if (spread := Spread.read(result[key]))
    ]
    return Table("final_scores", "Scores", ["", "mean", "sd over seeds", "n", "values"], rows)
