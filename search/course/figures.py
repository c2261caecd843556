"""Draw the course reports' configurations: replicates beside the published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..data.info import DatasetInfo
from ..report import style
from ..report.class_figures import averaged
from .gather import Configuration, Course
from .grid_effects import Effect, levels
from .verdicts import MARGIN, Claim


def beside_published(course: Course, title: str) -> Figure:
    """Draw each replicate as a dot, their mean as a line, the published figure as a diamond."""
    names = list(course.configurations)
    figure, axes = style.one(title, height=1.4 + 0.3 * len(names))
    printed = {name: course.printed(name) for name in names}
    _dots(axes, course, course.metric, printed)
    axes.set_xlabel(f"{course.metric_name} ({course.split})")
    style.legend_of(figure, _dot_handles())
    return figure


def precision(course: Course, title: str) -> Figure:
    """Draw precision and F1 of each configuration; published ones come from the report's matrices."""
    figure, panels = style.several(title, 1, 2, 1.6 + 0.3 * len(course.configurations))
    matrices = course.published["confusion"]
    for axes, key in zip(panels, ("weighted_precision", "weighted_f1"), strict=True):
        printed = {
            name: averaged(np.asarray(matrices[name]), key) if name in matrices else None
            for name in course.configurations
        }
        _dots(axes, course, key, printed)
        axes.set_xlabel(f"{key.replace('_', ' ').replace('f1', 'F1')} ({course.split})")
    ends = [end for axes in panels for end in axes.get_xlim()]
    for axes in panels:
        axes.set_xlim(min(ends), max(ends))
    panels[1].tick_params(labelleft=False)
    style.legend_of(figure, _dot_handles())
    return figure


def _dots(axes: Axes, course: Course, key: str, printed: Mapping[str, float | None]) -> None:
    """Draw a row for each configuration: its replicates, their mean, the published figure."""
    names = list(course.configurations)
    for row, name in enumerate(names):
        values = list(course.scores(name, key).values())
        colour = style.FAMILY.get(course.configurations[name].family, style.GREY)
        axes.scatter(values, [row] * len(values), s=26, color=colour, alpha=0.75, zorder=3)
        axes.vlines(np.mean(values), row - 0.28, row + 0.28, color=style.INK, linewidth=2, zorder=4)
        figure = printed[name]
        if figure is not None:
            axes.scatter(
                figure, row, s=44, marker="D", facecolors="none", edgecolors=style.RED, zorder=5
            )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()


def _dot_handles() -> list[Line2D]:
    return [
        Line2D([], [], marker="o", linestyle="", color=style.BLUE, label="CNN replicate"),
        Line2D([], [], marker="o", linestyle="", color=style.ORANGE, label="MLP replicate"),
        Line2D(
            [],
            [],
            marker="|",
            markersize=11,
            markeredgewidth=2,
            linestyle="",
            color=style.INK,
            label="mean",
        ),
        _published("published (test)"),
    ]


def forest(claims: Sequence[Claim], title: str) -> Figure:
    """Draw each claim's estimate with its interval; the grey band is half a point either way."""
    figure, axes = style.one(title, height=1.6 + 0.42 * len(claims))
    colours = {"holds": style.BLUE, "does not hold": style.RED, "cannot be told": style.GREY}
    markers = {"holds": "o", "does not hold": "X", "cannot be told": "s"}
    axes.axvspan(-MARGIN, MARGIN, color="#EEEEEE")
    axes.axvline(0, color=style.INK, linewidth=0.8)
    ends = [abs(c.difference.mean) for c in claims] + [
        abs(c.published) for c in claims if c.published
    ]
    limit = 2.2 * max([*ends, 0.02])
    for row, claim in enumerate(claims):
        difference, colour = claim.difference, colours[claim.verdict]
        low, high = max(difference.low, -limit), min(difference.high, limit)
        axes.hlines(row, low, high, color=colour, linewidth=2)
        axes.plot(difference.mean, row, markers[claim.verdict], color=colour, markersize=7)
        if claim.published is not None:
            axes.plot(claim.published, row, "D", markerfacecolor="none", color=style.RED, zorder=5)
    shown = [
        np.clip(v, -limit, limit) for c in claims for v in (c.difference.low, c.difference.high)
    ]
    shown += [c.published for c in claims if c.published is not None] + [-2 * MARGIN, 2 * MARGIN]
    pad = 0.04 * (max(shown) - min(shown))
    axes.set_xlim(min(shown) - pad, max(shown) + pad)
    axes.set_yticks(range(len(claims)), [f"{c.text}\n{c.short()}" for c in claims], fontsize=9)
    axes.invert_yaxis()
    # the names beside the axis leave a phone little room below it
    label = ("difference", "(0.01 = one point)", "with 95 % interval")
    axes.set_xlabel(("\n" if style.is_phone() else " ").join(label))
    handles = [
        *(Line2D([], [], color=colours[v], marker=markers[v], label=v) for v in colours),
        _published("published"),
    ]
    style.legend_of(figure, handles)
    return figure


def losses(configurations: Sequence[Configuration], title: str) -> Figure:
    """Draw training and validation loss by epoch, a panel per configuration, a line per replicate."""
    columns = min(2, len(configurations))
    rows = -(-len(configurations) // columns)
    figure, panels = style.several(title, rows, columns, 0.9 + 2.5 * rows)
    for axes in panels[len(configurations) :]:
        axes.set_visible(False)
    for axes, configuration in zip(panels, configurations, strict=False):
        for trial in configuration.trials:
            validation, training = trial.record.val_losses or [], trial.record.train_losses or []
            best = trial.record.best_epoch
            axes.plot(range(1, len(validation) + 1), validation, color=style.BLUE, linewidth=1.3)
            axes.plot(
                range(1, len(training) + 1), training, "--", color=style.ORANGE, linewidth=1.3
            )
            if best and best <= len(validation):
                axes.plot(best, validation[best - 1], "o", color=style.INK, markersize=4)
        axes.set_title(configuration.name, fontsize=10)
        axes.set(xlabel="epoch", ylabel="loss (nats per image)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
    handles = [
        Line2D([], [], color=style.BLUE, label="validation"),
        Line2D([], [], color=style.ORANGE, linestyle="--", label="training"),
        Line2D(
            [], [], color=style.INK, marker="o", linestyle="", markersize=4, label="best macro-F1"
        ),
    ]
    style.legend_of(figure, handles, 3)
    return figure


def capacity(mlps: Sequence[Configuration], title: str) -> Figure:
    """Draw validation macro-F1 by the MLP's number of weights; the line joins those of one hidden layer."""
    figure, axes = style.one(title)
    line: list[tuple[int, float]] = []
    for one in mlps:
        size, values = one.trials[0].record.n_parameters or 0, one.validation
        label = "replicates" if one is mlps[0] else None
        axes.scatter([size] * len(values), values, s=28, color=style.ORANGE, zorder=3, label=label)
        mean, deep = float(np.mean(values)), one.params.get("mlp_depth", 1) > 1
        axes.plot(size, mean, "_", color=style.INK, markersize=16, markeredgewidth=2, zorder=4)
        axes.annotate(
            levels(one.params)["size"], (size, min(values) if deep else max(values)),
            xytext=(0, -16 if deep else 8), textcoords="offset points", ha="center", fontsize=9,
        )  # fmt: skip
        if not deep:
            line.append((size, mean))
    axes.plot(*zip(*sorted(line), strict=True), color=style.GREY, linewidth=1,
              label="means of one hidden layer")  # fmt: skip
    style.log_axis(axes, "trainable weights")
    axes.margins(x=0.12, y=0.15)
    axes.set_ylabel("macro-F1 (validation)")
    style.legend(figure, axes)
    return figure


def matrices(
    measured: NDArray[np.int64],
    printed: NDArray[np.int64],
    info: DatasetInfo,
    title: str,
    split: str,
) -> Figure:
    """Draw two confusion matrices in percent of the true class, the measured one on the left."""
    figure, panels = style.several(title, 1, 2, 4.7)
    places, short = range(len(measured)), info.short_classes
    for axes, counts, label in zip(
        panels, (measured, printed), (f"bloodsearch ({split})", "published (test)"), strict=True
    ):
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)
        axes.grid(False)
        for (row, column), part in np.ndenumerate(share):
            text = "·" if not counts[row, column] else f"{100 * part:.1f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=7,
                      color="white" if np.sqrt(part) > 0.6 else "black")  # fmt: skip
        axes.set_xticks(places, short, rotation=45, ha="right", fontsize=8)
        axes.set_yticks(places, short if axes is panels[0] else [""] * len(short), fontsize=8)
        axes.set_title(label, fontsize=10)
        axes.set_xlabel("predicted (% of the true class)", fontsize=9)
    panels[0].set_ylabel("true class")
    return figure


def counts_beside(
    counted: Sequence[int], printed: Sequence[int], info: DatasetInfo, title: str
) -> Figure:
    """Draw the class counts of the data beside the printed ones."""
    figure, axes = style.one(title, height=3.9)
    places = np.arange(len(info.classes))
    axes.barh(places - 0.2, counted, 0.38, color=style.BLUE, label="in the data")
    axes.barh(
        places + 0.2,
        printed,
        0.38,
        color="white",
        edgecolor=style.RED,
        hatch="///",
        label="printed in Table 1",
    )
    axes.set_yticks(places, info.classes)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("number of images, all splits")
    style.legend(figure, axes)
    return figure


def grid(effects: Sequence[Effect], title: str) -> Figure:
    """Draw the values of all points of a grid, once for each of their choices; a panel per family."""
    families = list(dict.fromkeys(e.family for e in effects))
    n_rows = max(_rows([e for e in effects if e.family == f])[-1] for f in families)
    figure, panels = style.several(title, 1, len(families), 1.0 + 0.24 * n_rows)
    for axes, family in zip(panels, families, strict=True):
        shown = [e for e in effects if e.family == family]
        rows = _rows(shown)
        colour = style.FAMILY.get(family, style.GREY)
        for row, effect in zip(rows, shown, strict=True):
            axes.scatter(effect.values, [row] * len(effect.values), s=12, color=colour, alpha=0.5)
            axes.vlines(np.mean(effect.values), row - 0.4, row + 0.4, color=style.INK, linewidth=2)
        axes.set_yticks(rows, [e.level for e in shown], fontsize=9)
        axes.set_ylim(n_rows + 0.7, -1.4)
        axes.grid(axis="y", visible=False)
        low = axes.get_xlim()[0]
        for choice in dict.fromkeys(e.choice for e in shown):
            first = min(r for r, e in zip(rows, shown, strict=True) if e.choice == choice)
            axes.text(low, first - 0.62, choice, fontsize=9, fontweight="bold", va="center")
        axes.set_title(style.family_name(family), fontsize=10)
        axes.set_xlabel("validation macro-F1")
    return figure


def _rows(effects: Sequence[Effect]) -> list[float]:
    """Return a place for each level, with room for the choice's name above its first level."""
    places: list[float] = []
    for i, effect in enumerate(effects):
        new = i == 0 or effect.choice != effects[i - 1].choice
        places.append((places[-1] if places else -1.0) + (2.0 if new and places else 1.0))
    return places


def _published(label: str) -> Line2D:
    return Line2D(
        [], [], marker="D", linestyle="", markerfacecolor="none", color=style.RED, label=label
    )
