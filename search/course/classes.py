"""Build the sections on the course reports' errors by class and on their data."""

from __future__ import annotations

import functools

import numpy as np

from ..report import data_figures
from ..report.class_figures import averaged, scores_of
from ..report.classes import confusion_pictures, matrix
from ..report.parts import Cell, Picture, Section, Table
from ..report.words import plural
from . import figures as course_figures
from .gather import Course

GRANULOCYTE = "immature granulocyte"


def final_model(course: Course) -> Section:
    """Repeat report A's Figure 4 and Table 5: the final CNN."""
    title = "Figure 4 and Table 5: the final CNN by class"
    cnn = course.configurations.get("A-cnn")
    if cnn is None or cnn.counts is None:
        return Section(title, warnings=["A-cnn was not trained."])
    printed, info = course.published["per_class"], course.fingerprint.info
    classes = info.classes
    rows: list[list[Cell]] = []
    for i, (name, row) in enumerate(zip(classes, scores_of(cnn.counts, classes), strict=True)):
        cells: list[Cell] = [name]
        for key in ("precision", "recall", "f1"):
            cells += [row[key], printed[key][i]]
        rows.append(cells)
    columns = ["class"] + [
        f"{k}{p}" for k in ("precision", "recall", "F1") for p in ("", ", published")
    ]
    note = (
        f"Scored on the {course.split} split, pooled over {plural(len(cnn.trials), 'replicate')}."
    )
    return Section(
        title,
        course.misprints("table-5"),
        confusion_pictures("confusion", cnn.counts, info, note, "A-cnn. "),
        [
            Table("table-5", "Table 5: scores of each class", columns, rows, note, digits=3),
            matrix(
                "confusion-a-cnn", "Figure 4: confusion matrix of A-cnn", cnn.counts, info, note
            ),
        ],
    )


def matrices(course: Course) -> Section:
    """Repeat report B's Figures 4 and 6, measured and published side by side."""
    pictures, tables = [], []
    for name, cells in course.published["confusion"].items():
        configuration = course.configurations.get(name)
        if configuration is None or configuration.counts is None:
            continue
        counts, printed = configuration.counts, np.asarray(cells)
        seen = (
            f"{name}: weighted F1 {averaged(counts, 'weighted_f1'):.4f} (replicates, pooled), "
            f"{averaged(printed, 'weighted_f1'):.4f} (from the published matrix)"
        )
        draw = functools.partial(
            course_figures.matrices, counts, printed, course.fingerprint.info, seen, course.split
        )
        pictures.append(Picture(f"matrix-{name.lower()}", seen, draw))
        n = len(configuration.trials)
        note = f"Summed over {plural(n, 'replicate')} on the {course.split} split."
        tables.append(
            matrix(
                f"matrix-{name.lower()}",
                f"{name}: replicates",
                counts,
                course.fingerprint.info,
                note,
            )
        )
    return Section(
        "Figures 4 and 6: confusion matrices", course.misprints("matrices"), pictures, tables
    )


def data(course: Course) -> Section:
    """Show samples, and report A's class counts."""
    pictures: list[Picture] = []
    tables: list[Table] = []
    warnings = (
        [f"There are no pictures of the data: {course.no_data}"] if course.dataset is None else []
    )
    if course.dataset is not None:
        title = "The first training images of each class"
        pictures.append(
            Picture(
                "samples", title, functools.partial(data_figures.samples, course.dataset, title)
            )
        )
    if course.report == "report_a" and course.dataset is not None:
        title = f"Figure 5: 32 {GRANULOCYTE}s, the first of the training split"
        draw = functools.partial(data_figures.one_class, course.dataset, GRANULOCYTE, title)
        pictures.append(Picture("granulocytes", title, draw))
    if course.report == "report_a":
        counted, printed = course.published["true_class_counts"], course.published["class_counts"]
        title = "Table 1's class counts are not those of the data"
        draw = functools.partial(
            course_figures.counts_beside, counted, printed, course.fingerprint.info, title
        )
        pictures.append(Picture("table-1", title, draw))
        rows = list(zip(course.fingerprint.info.classes, counted, printed, strict=True))
        tables.append(Table("table-1", "Table 1: images of each class, all splits",
                            ["class", "in the data", "printed"], rows))  # fmt: skip
    return Section("The data", course.misprints("data"), pictures, tables, warnings)
