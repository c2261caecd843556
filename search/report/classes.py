"""Build the sections on errors by class: the final evaluation on test, the winner on validation."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.info import DatasetInfo
from ..evaluation.class_intervals import wilson
from ..results import FinalResult
from . import class_figures, data_figures
from .gather import Gathered
from .parts import Cell, Picture, Section, Table
from .predictions import ValidationPredictions
from .words import plural, score, times

N_IMAGES = 8
F1_NOTE = "A line is the 95 % interval of F1 over other test images."
PER_CLASS_COLUMNS = (
    "class", "images", "sensitivity", "its 95 % interval", "specificity",
    "precision", "precision's interval", "F1", "F1's interval",
)  # fmt: skip
Counts = NDArray[np.int64]


def final(study: Gathered) -> Section:
    """Show the final evaluation: scores with their spread, confusion matrices, scores by class."""
    name = "The final evaluation on the test split"
    result = study.final
    if result is None:
        opened = f"opened {times(len(study.openings))}" if study.openings else "never opened"
        return Section(
            name,
            warnings=[
                f"There is none yet; the test split was {opened} for this study. "
                "`bloodsearch final-eval` retrains the winner with several seeds, opens the test "
                "split once and records the opening."
            ],
        )
    n, counts = result.replicates, np.asarray(result.confusion_matrix)
    worst = min(result.per_class, key=lambda c: c.f1)
    title = f"Weakest class on test: {worst.name}, F1 {worst.f1:.3f}"
    note = f"Summed over {plural(n, 'replicate')}, so each test image counts {times(n)}."
    bars = functools.partial(class_figures.per_class, result.per_class, title)
    # the share of a class does not depend on the number of replicates, as counts do
    shares = confusion_pictures("confusion", counts, study.about, "")[1]
    return Section(
        name,
        _final_text(study, result),
        [Picture("per-class", title, bars, F1_NOTE), shares],
        [
            _scores(result),
            *_declared(result),
            _per_class(result, counts),
            replace(
                matrix(
                    "confusion_matrix", "Confusion matrix on test (rows are true classes)", counts,
                    study.about, note,
                ),
                folded=True,
            ),
        ],
        _lost(study, result),
    )  # fmt: skip


def _per_class(result: FinalResult, counts: Counts) -> Table:
    """Return what a clinical reader asks of each class, with intervals over other test images."""
    rows: list[list[Cell]] = []
    n, total = result.replicates, counts.sum()
    for i, one in enumerate(result.per_class):
        true, said = int(counts[i].sum()), int(counts[:, i].sum())
        negatives = total - true
        specificity = 1 - (said - counts[i, i]) / max(negatives, 1)
        rows.append([
            one.name, one.n, one.recall, _range(wilson(one.recall, true / n)), float(specificity),
            one.precision, _range(wilson(one.precision, said / n)), one.f1, _range(one.f1_interval_95),
        ])  # fmt: skip
    note = (
        "Sensitivity (recall): of the images of the class, the share that is recognised. Specificity: of "
        "all other images, the share that is not called so. Precision: of the images that are called so, the "
        "share that is of the class; it holds only where classes are as frequent as in the test split. "
        "Intervals cover other test images, not other seeds."
    )
    return Table(
        "per_class", "Scores of each class on test", PER_CLASS_COLUMNS, rows, note, digits=3
    )


def _range(interval: tuple[float, float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.3f} .. {interval[1]:.3f}"


def _final_text(study: Gathered, result: FinalResult) -> list[str]:
    text = (
        f"Trial {result.trial} was retrained with {plural(result.replicates, 'fresh seed')}. The test split "
        f"was opened {times(len(study.openings))} for this study. Test macro-F1: "
        f"{score(result.test_macro_f1)}."
    )
    difference = result.search_value_minus_replicates
    if result.search_value is not None and difference is not None:
        side = "above" if difference >= 0 else "below"
        text += (
            f" The search value was {result.search_value:.4f}, which is {abs(difference):.4f} {side} the "
            "replicates' mean on validation."
        )
    return [text]


def _lost(study: Gathered, result: FinalResult) -> list[str]:
    """Say which asked trainings have no part in the figures."""
    lines = []
    if result.diverged_seeds:
        asked = result.replicates_asked or result.replicates + len(result.diverged_seeds)
        lines.append(
            f"{len(result.diverged_seeds)} of {plural(asked, 'replicate')} diverged. No figure includes them."
        )
    if study.lost_refits and not any(
        "train and validation" in o.option for o in result.declared_options
    ):
        lines.append(
            "The winner was also trained on the training and validation splits together, but every seed of "
            "that diverged, so this declared option has no score."
        )
    return lines


def _declared(result: FinalResult) -> list[Table]:
    """Return the table of declared options; nothing without them."""
    rows = [
        (o.option, o.test_macro_f1.mean, o.test_macro_f1.known_std, o.test_accuracy.mean,
         o.test_macro_f1.n)
        for o in result.declared_options
    ]  # fmt: skip
    columns = ["option", "test macro-F1", "sd over seeds", "test accuracy", "n"]
    note = "Declared before the test split was opened, and reported beside the plain figure."
    return [Table("declared_options", "Declared options", columns, rows, note)]


def confusion_pictures(
    name: str, counts: Counts, info: DatasetInfo, note: str, whose: str = ""
) -> list[Picture]:
    """Show a confusion matrix twice: as counts, and in percent of each true class."""
    pairs = class_figures.confused_pairs(counts, 1)
    titles = [f"{whose}No image is misclassified"] * 2
    if pairs:
        true, predicted, n = pairs[0]
        error = f"{info.classes[true]} predicted as {info.classes[predicted]}"
        total = int(counts[true].sum())
        titles = [
            f"{whose}Most frequent error: {error}, {n:,} of {total:,} images",
            f"{whose}Most frequent error: {error}, {100 * n / total:.1f} % of the class",
        ]
    return [
        Picture(
            f"{name}-{kind}",
            title,
            functools.partial(class_figures.confusion, counts, info, title, kind == "percent"),
            note,
        )
        for kind, title in zip(("counts", "percent"), titles, strict=True)
    ]


def confusions(study: Gathered, predictions: ValidationPredictions | None, why: str) -> Section:
    """Show the most confused pairs on validation, with images where there are predictions."""
    name, winner = "Which classes are confused", study.winner
    if predictions is not None:
        counts, n = predictions.counts, len(predictions.predicted)
        whose = f"{plural(n, 'retrained replicate')} of trial {winner.label if winner else '?'}"
    elif winner is not None and winner.confusion is not None:
        counts, whose = winner.confusion, f"trial {winner.label} at its best epoch"
    else:
        return Section(name, warnings=["No complete trial has a confusion matrix yet."])
    pairs, classes = class_figures.confused_pairs(counts), study.about.classes
    rows = [(classes[i], classes[j], n, 100 * n / int(counts[i].sum())) for i, j, n in pairs]
    table = Table(
        "confused_pairs", "The most confused pairs on validation",
        ["true class", "predicted class", "images", "% of the true class"], rows, digits=1,
    )  # fmt: skip
    text = [
        f"These are errors on the validation split, made by {whose}. The test images stay sealed, so "
        "every picture of an error is a validation image."
    ]
    if predictions is None or study.dataset is None:
        return Section(name, text, tables=[table], warnings=[f"There are no pictures: {why}."])
    shown = []
    for i, j, _ in pairs:
        hit = (predictions.predicted == j).sum(axis=0) * (study.dataset.val_labels == i)
        order = np.argsort(-hit, kind="stable")[: int((hit > 0).sum())][:N_IMAGES]
        label = f"{classes[i]},\npredicted\n{classes[j]}"
        shown.append((label, study.dataset.val_images[order]))
    if not shown:
        return Section(name, [*text, "No validation image is misclassified."])
    i, j, _ = pairs[0]
    first = f"{classes[i]} predicted as {classes[j]}"
    title = f"Images behind the most frequent errors, beginning with {first}"
    picture = Picture(
        "confused-pairs", title, functools.partial(data_figures.pairs, shown, title, N_IMAGES),
        "The images that most replicates get wrong come first.",
    )  # fmt: skip
    return Section(name, text, [picture], [table])


def matrix(name: str, title: str, counts: Any, info: DatasetInfo, note: str = "") -> Table:
    """Return a confusion matrix as a table."""
    rows: list[list[Cell]] = [[info.classes[i], *map(int, row)] for i, row in enumerate(counts)]
    return Table(name, title, ["true class", *info.short_classes], rows, note)


def _scores(result: FinalResult) -> Table:
    scores = {
        "test macro-F1": result.test_macro_f1,
        "test weighted F1": result.test_weighted_f1,
        "test accuracy": result.test_accuracy,
        "test AUC": result.test_auc,
        "test quadratic weighted kappa": result.test_quadratic_kappa,
        "validation macro-F1": result.val_macro_f1,
    }
    rows = [
        (label, s.mean, s.known_std, s.n, s.shown_values)
        for label, s in scores.items()
        if s is not None
    ]
    return Table("final_scores", "Scores", ["", "mean", "sd over seeds", "n", "values"], rows)
