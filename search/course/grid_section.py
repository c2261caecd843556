"""Build the section on a course report's grid: its best points and the effect of each choice."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from ..report import style
from ..report.parts import Cell, Picture, Section, Table
from . import figures as course_figures
from .gather import Course
from .grid_effects import EARLY, STOP, Effect, Point, effects, levels, points
from .stop_rules import RULES


def section(course: Course) -> Section:
    """Show the grid of `course`, which must have one."""
    assert course.grid is not None
    title, grid = "The grid", course.grid
    trained = points(grid)
    if not trained:
        return Section(title, warnings=["No point of the grid is complete yet."])
    report = {c.family: levels(c.params) for c in reversed(course.configurations.values())}
    measured_effects = effects(trained, report)
    warnings, pictures = [], []
    if len(trained) < len(grid.trials):
        warnings.append(f"{len(trained)} of the grid's {len(grid.trials)} points are complete.")
    if measured_effects:
        seen = _headline(measured_effects)
        pictures.append(
            Picture("grid", seen, functools.partial(course_figures.grid, measured_effects, seen),
                    "A dot is a training, a line the mean of its row. All rows except those of the stop rule "
                    f"use {EARLY}.")
        )  # fmt: skip
    tables = [_best(trained), _hyperparameters(trained, report), _worth(measured_effects)]
    return Section(title, _text(course, trained), pictures, tables, warnings)


def _text(course: Course, trained: Sequence[Point]) -> list[str]:
    most = max(p.trial.epochs for p in trained)
    ended = sum(p.stops[EARLY].by_patience for p in trained)
    text = [
        f"{len(trained)} combinations were trained once each, for at most {most} epochs. Because the "
        "learning rate is constant, the report's 5, 10 and 15 epochs are the beginnings of the same "
        "trainings. "
        f"Early stopping ends after {EARLY.patience} epochs without a better macro-F1 on validation and "
        f"keeps the best epoch. It ended {ended} of the {len(trained)} trainings; the others kept the best "
        "of all their epochs.",
    ]
    spreads = {
        name: float(np.std(c.validation, ddof=1))
        for name, c in course.configurations.items()
        if len(c.trials) > 1 and name in ("A-mlp", "A-cnn")
    }
    if spreads:
        listed = " and ".join(f"{sd:.4f} ({name})" for name, sd in spreads.items())
        text.append(
            f"The same training with other seeds has a standard deviation of {listed}. The order of the best "
            "points is therefore mostly luck; the means over many points are not."
        )
    return text


def _best(trained: Sequence[Point]) -> Table:
    rows: list[list[Cell]] = []
    for family in dict.fromkeys(p.family for p in trained):
        for rule in RULES:
            candidates = [p for p in trained if p.family == family and rule in p.stops]
            if candidates:
                best = max(candidates, key=lambda p: p.stops[rule].value)
                kept = best.stops[rule]
                rows.append(
                    [style.family_name(family), str(rule), kept.value, kept.kept,
                     *best.levels.values()]
                )  # fmt: skip
    choices = list(trained[0].levels)
    return Table(
        "grid-best",
        "The best combination of each family under each stop rule",
        ["family", STOP, "validation macro-F1", "epoch kept", *choices],
        rows,
    )


def _hyperparameters(trained: Sequence[Point], report: Mapping[str, Mapping[str, str]]) -> Table:
    """Repeat report A's Table 2 beside the best points of this grid."""
    columns, cells = ["hyperparameter"], []
    for family in dict.fromkeys(p.family for p in trained):
        value, rule, best = max(
            ((kept.value, rule, p) for p in trained if p.family == family
             for rule, kept in p.stops.items()), key=lambda row: row[0],
        )  # fmt: skip
        name = style.family_name(family)
        columns += [f"best {name}, report", f"best {name}, this grid"]
        printed = {**report.get(family, {}), STOP: "early stopping", "validation macro-F1": "-"}
        measured = {**best.levels, STOP: str(rule), "validation macro-F1": f"{value:.4f}"}
        cells.append((printed, measured))
    rows: list[list[Cell]] = [
        [name, *(side.get(name, "-") for pair in cells for side in pair)] for name in cells[0][1]
    ]
    return Table("table-2", "Table 2: the best hyperparameters", columns, rows)


def _worth(measured_effects: Sequence[Effect]) -> Table:
    rows: list[list[Cell]] = [
        [
            style.family_name(e.family),
            e.choice,
            e.level,
            len(e.values),
            float(np.mean(e.values)),
            max(e.values),
            f"{np.mean(e.differences):+.4f}" if e.differences else "",
            f"{np.median(e.differences):+.4f}" if e.differences else "",
            float(np.std(e.differences, ddof=1)) if len(e.differences) > 1 else "",
        ]
        for e in measured_effects
    ]
    columns = ["family", "choice", "level", "n", "mean", "best"]
    return Table(
        "grid-choices",
        "The effect of each choice on average (validation macro-F1)",
        [*columns, "difference from the report's", "median", "sd of the pairs"],
        rows,
        "Differences are taken between pairs of points that differ in this choice alone. The median is "
        "not moved by a few trainings that learn nothing. The spread comes mostly from the other settings. "
        "A row without a difference is the report's own choice, or the grid does not contain that choice.",
    )


def _headline(measured_effects: Sequence[Effect]) -> str:
    """Name the choice whose levels differ most on average, by family."""
    parts = []
    for family in dict.fromkeys(e.family for e in measured_effects):
        ranges = []
        for choice in dict.fromkeys(e.choice for e in measured_effects):
            means = [
                np.mean(e.values)
                for e in measured_effects
                if (e.family, e.choice) == (family, choice)
            ]
            if means:
                ranges.append((float(max(means) - min(means)), choice))
        width, choice = max(ranges)
        name = style.family_name(family)
        parts.append(f"for the {name} the {choice} (means {width:.3f} apart)")
    return "What matters most in the grid: " + ", ".join(parts)
