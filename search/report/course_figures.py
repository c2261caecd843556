"""Pictures of the course reports' configurations: ours beside the published figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from search.report import style
from search.report.claims import MARGIN, Claim
from search.report.class_figures import SHORT
from search.report.course import Configuration, Course
from search.training.data import CLASS_NAMES


def beside_published(course: Course, title: str) -> Figure:
    """Each replicate as a dot, their mean as a line, the published figure as a diamond."""
    names = list(course.configurations)
    figure, axes = style.one(title, height=1.4 + 0.3 * len(names))
    for row, name in enumerate(names):
        found = course.configurations[name]
        values = list(course.scores(name).values())
        colour = style.FAMILY.get(found.family, style.GREY)
        axes.scatter(values, [row] * len(values), s=26, color=colour, alpha=0.75, zorder=3)
        axes.vlines(np.mean(values), row - 0.28, row + 0.28, color="black", linewidth=2, zorder=4)
        printed = found.published.get(course.metric)
        if printed is not None:
            axes.scatter(
                printed, row, s=44, marker="D", facecolors="none", edgecolors=style.RED, zorder=5
            )
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlabel(f"{course.metric.replace('_', ' ').replace('f1', 'F1')} ({course.split})")
    handles = [
        Line2D([], [], marker="o", linestyle="", color=style.BLUE, label="CNN replicate"),
        Line2D([], [], marker="o", linestyle="", color=style.ORANGE, label="MLP replicate"),
        Line2D(
            [],
            [],
            marker="|",
            markersize=11,
            markeredgewidth=2,
            linestyle="",
            color="black",
            label="mean",
        ),
        Line2D(
            [],
            [],
            marker="D",
            linestyle="",
            markerfacecolor="none",
            color=style.RED,
            label="published (test)",
        ),
    ]
    figure.legend(handles=handles, loc="outside lower right", ncols=4)
    return figure


def forest(claims: Sequence[Claim], title: str) -> Figure:
    """Each claim's estimate with its interval; the grey band is half a point either way."""
    figure, axes = style.one(title, height=1.6 + 0.42 * len(claims))
    colours = {"holds": style.BLUE, "does not hold": style.RED, "cannot be told": style.GREY}
    markers = {"holds": "o", "does not hold": "X", "cannot be told": "s"}
    axes.axvspan(-MARGIN, MARGIN, color="#EEEEEE")
    axes.axvline(0, color="black", linewidth=0.8)
    ends = [abs(c.found.mean) for c in claims] + [abs(c.published) for c in claims if c.published]
    limit = 2.2 * max([*ends, 0.02])
    for row, claim in enumerate(claims):
        found, colour = claim.found, colours[claim.verdict]
        low, high = max(found.low, -limit), min(found.high, limit)
        axes.hlines(row, low, high, color=colour, linewidth=2)
        axes.plot(found.mean, row, markers[claim.verdict], color=colour, markersize=7)
        if claim.published is not None:
            axes.plot(claim.published, row, "D", markerfacecolor="none", color=style.RED, zorder=5)
    axes.set_xlim(-limit, limit)
    axes.set_yticks(range(len(claims)), [f"{c.text}\n{c.spoken()}" for c in claims], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel("difference (0.01 = one point), 95 % interval over replicates")
    handles = [
        *(Line2D([], [], color=colours[v], marker=markers[v], label=v) for v in colours),
        Line2D(
            [],
            [],
            marker="D",
            linestyle="",
            markerfacecolor="none",
            color=style.RED,
            label="published",
        ),
    ]
    figure.legend(handles=handles, loc="outside lower right", ncols=4)
    return figure


def losses(configurations: Sequence[Configuration], title: str) -> Figure:
    """Training and validation loss by epoch, one panel for each configuration, a line per replicate."""
    columns = min(2, len(configurations))
    rows = -(-len(configurations) // columns)
    figure, panels = style.several(title, rows, columns, 0.9 + 2.5 * rows)
    for axes in panels[len(configurations) :]:
        axes.set_visible(False)
    for axes, found in zip(panels, configurations, strict=False):
        for trial in found.trials:
            epochs = range(1, len(trial.val_losses) + 1)
            axes.plot(epochs, trial.val_losses, color=style.BLUE, linewidth=1.3)
            axes.plot(epochs, trial.train_losses, "--", color=style.ORANGE, linewidth=1.3)
            if trial.best_epoch:
                axes.plot(
                    trial.best_epoch,
                    trial.val_losses[trial.best_epoch - 1],
                    "o",
                    color="black",
                    markersize=4,
                )
        axes.set_title(found.name, fontsize=10)
        axes.set(xlabel="epoch", ylabel="loss (nats per image)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylim(bottom=0)
    handles = [
        Line2D([], [], color=style.BLUE, label="validation"),
        Line2D([], [], color=style.ORANGE, linestyle="--", label="training"),
        Line2D(
            [], [], color="black", marker="o", linestyle="", markersize=4, label="best macro-F1"
        ),
    ]
    figure.legend(handles=handles, loc="outside lower right", ncols=3)
    return figure


def capacity(course: Course, names: Sequence[str], title: str) -> Figure:
    """Macro-F1 against the MLP's number of weights: named sizes, and the grid's MLPs in grey."""
    figure, axes = style.one(title)
    if course.grid is not None:
        mine = [t for t in course.grid.complete if t.family == "mlp" and t.n_parameters]
        axes.scatter(
            [t.n_parameters or 0 for t in mine], [t.value or 0.0 for t in mine],
            s=10, color=style.LIGHT, label="points of the grid (validation)",
        )  # fmt: skip
    sizes, means = [], []
    for name in names:
        found = course.configurations[name]
        size = found.trials[0].n_parameters or 0
        values = list(course.scores(name).values())
        axes.scatter([size] * len(values), values, s=28, color=style.ORANGE, zorder=3,
                     label=f"replicates ({course.split})" if name == names[0] else None)  # fmt: skip
        axes.annotate(name, (size, max(values)), xytext=(0, 7), textcoords="offset points",
                      ha="center", fontsize=8)  # fmt: skip
        sizes.append(size)
        means.append(float(np.mean(values)))
    order = np.argsort(sizes)
    axes.plot(np.asarray(sizes)[order], np.asarray(means)[order], color="black", label="mean")
    style.log_axis(axes, "trainable weights")
    axes.margins(x=0.12, y=0.15)
    axes.set_ylabel("macro-F1")
    style.legend(figure, axes)
    return figure


def matrices(ours: NDArray[np.int64], theirs: NDArray[np.int64], title: str, split: str) -> Figure:
    """Two confusion matrices (8, 8) in percent of the true class, ours on the left."""
    figure, panels = style.several(title, 1, 2, 4.7)
    for axes, counts, label in zip(
        panels, (ours, theirs), (f"ours ({split})", "published (test)"), strict=True
    ):
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1)
        axes.grid(False)
        for (row, column), part in np.ndenumerate(share):
            text = "·" if not counts[row, column] else f"{100 * part:.1f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=7,
                      color="white" if np.sqrt(part) > 0.6 else "black")  # fmt: skip
        axes.set_xticks(range(8), SHORT, rotation=45, ha="right", fontsize=8)
        axes.set_yticks(range(8), SHORT if axes is panels[0] else [""] * 8, fontsize=8)
        axes.set_title(label, fontsize=10)
        axes.set_xlabel("predicted (% of the true class)", fontsize=9)
    panels[0].set_ylabel("true class")
    return figure


def counts_beside(ours: Sequence[int], theirs: Sequence[int], title: str) -> Figure:
    """Class counts of the data beside the printed ones."""
    figure, axes = style.one(title, height=3.9)
    places = np.arange(len(CLASS_NAMES))
    axes.barh(places - 0.2, ours, 0.38, color=style.BLUE, label="in the data")
    axes.barh(
        places + 0.2,
        theirs,
        0.38,
        color="white",
        edgecolor=style.RED,
        hatch="///",
        label="printed in Table 1",
    )
    axes.set_yticks(places, CLASS_NAMES)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("number of images, all splits")
    style.legend(figure, axes)
    return figure


def _published(label: str) -> Line2D:
    return Line2D(
        [], [], marker="D", linestyle="", markerfacecolor="none", color=style.RED, label=label
    )
