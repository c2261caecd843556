"""The course reports' errors by class, and their data: ours beside the published figures."""

from __future__ import annotations

import functools

import numpy as np

from ..data.bloodmnist import CLASS_NAMES
from ..report import data_figures
from ..report.class_figures import averaged, scores_of
from ..report.classes import confusion_pictures, matrix
from ..report.parts import Cell, Picture, Section, Table
from . import figures as course_figures
from .gather import Course

GRANULOCYTE = "immature granulocyte"


def final_model(course: Course) -> Section:
    """Report A's Figure 4 and Table 5: the final CNN."""
    title = "Figure 4 and Table 5: the final CNN by class"
    found = course.configurations.get("A-cnn")
    if found is None or found.counts is None:
        return Section(title, warnings=["A-cnn was not trained."])
    printed = course.published["per_class"]
    rows: list[list[Cell]] = []
    for i, (name, row) in enumerate(zip(CLASS_NAMES, scores_of(found.counts), strict=True)):
        cells: list[Cell] = [name]
        for key in ("precision", "recall", "f1"):
            cells += [row[key], printed[key][i]]
        rows.append(cells)
    columns = ["class"] + [
        f"{k}{p}" for k in ("precision", "recall", "F1") for p in ("", ", published")
    ]
    n = len(found.trials)
    note = f"Ours on the {course.split} split, pooled over {n} replicate{'s' * (n > 1)}."
    return Section(
        title,
        course.misprints("table-5"),
        confusion_pictures("confusion", found.counts, note, "A-cnn. "),
        [
            Table("table-5", "Table 5: scores of each class", columns, rows, note, digits=3),
            matrix("confusion-a-cnn", "Figure 4: confusion matrix of A-cnn", found.counts, note),
        ],
    )


def matrices(course: Course) -> Section:
    """Report B's Figures 4 and 6, ours and theirs side by side."""
    pictures, tables = [], []
    for name, theirs in course.published["confusion"].items():
        found = course.configurations.get(name)
        if found is None or found.counts is None:
            continue
        printed = np.asarray(theirs)
        seen = (
            f"{name}: weighted F1 {averaged(found.counts, 'weighted_f1'):.4f} (ours, pooled), "
            f"{averaged(printed, 'weighted_f1'):.4f} (from the published matrix)"
        )
        draw = functools.partial(course_figures.matrices, found.counts, printed, seen, course.split)
        pictures.append(Picture(f"matrix-{name.lower()}", seen, draw))
        n = len(found.trials)
        note = f"{course.split} split, summed over {n} replicate{'s' * (n > 1)}."
        tables.append(matrix(f"matrix-{name.lower()}", f"{name}: ours", found.counts, note))
    return Section(
        "Figures 4 and 6: confusion matrices", course.misprints("matrices"), pictures, tables
    )


def data(course: Course) -> Section:
    """Samples, and report A's class counts."""
    pictures: list[Picture] = []
    tables: list[Table] = []
    warnings = [f"No pictures of the data: {course.no_data}"] if course.dataset is None else []
    if course.dataset is not None:
        title = "Eight cells of each class: the first of the training split"
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
        ours, theirs = course.published["true_class_counts"], course.published["class_counts"]
        title = "Table 1's class counts are not those of the data"
        draw = functools.partial(course_figures.counts_beside, ours, theirs, title)
        pictures.append(Picture("table-1", title, draw))
        rows = list(zip(CLASS_NAMES, ours, theirs, strict=True))
        tables.append(Table("table-1", "Table 1: images of each class, all splits",
                            ["class", "in the data", "printed"], rows))  # fmt: skip
    return Section("The data", course.misprints("data"), pictures, tables, warnings)
