"""Draw the search space: importances and one slice for each parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from . import style
from .gather import ReportTrial, Space
from .importance import Importance
from .points import scatter


def importance(groups: Sequence[Importance], title: str) -> Figure:
    """Draw bars of explained variance by parameter, one panel for each group of trials."""
    n_rows = max(len(one.mean) for one in groups)
    figure, panels = style.several(title, 1, len(groups), 1.4 + 0.27 * n_rows)
    for axes, one in zip(panels, groups, strict=True):
        names = list(one.mean)
        places = np.arange(len(names))
        axes.barh(
            places, [one.mean[n] for n in names], xerr=[one.sd[n] for n in names],
            color=style.FAMILY.get(one.group, style.GREY), error_kw={"linewidth": 1},
        )  # fmt: skip
        axes.set_yticks(places, [_short(n) for n in names], fontsize=9)
        axes.set_ylim((len(names) if style.is_phone() else n_rows) - 0.4, -0.6)
        axes.set_xlim(0, 1)
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("share of variance")
        group = style.family_name(one.group)
        axes.set_title(f"{group}\n(n = {one.n_trials})", fontsize=10)
    return figure


def slices(trials: Sequence[ReportTrial], names: Sequence[str], space: Space, title: str) -> Figure:
    """Draw value by each parameter in `names`; pruned trials are hollow and at their best epoch."""
    columns = min(2 if style.is_phone() else 3, len(names))
    rows = math.ceil(len(names) / columns)
    figure, panels = style.grid(title, rows, columns, 1.0 + 1.9 * rows)
    values = [t.best for t in trials if t.best is not None]
    bottom, top = style.limits(values)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for i, (axes, name) in enumerate(zip(panels, names, strict=False)):
        _slice(
            axes,
            [t for t in trials if name in t.searched and t.best is not None],
            name,
            space[name],
        )
        axes.set_ylim(bottom, top)
        if i % columns == 0:
            axes.set_ylabel("validation\nmacro-F1")
        else:
            axes.tick_params(labelleft=False)
    seen = sorted({t.family for t in trials if any(name in t.searched for name in names)})
    handles = [
        Line2D([], [], color=style.look(f)[0], marker=style.look(f)[1], linestyle="",
               label=style.family_name(f))
        for f in seen
    ]  # fmt: skip
    if any(t.state == "pruned" for t in trials):
        handles.append(
            Line2D([], [], color=style.GREY, marker="o", markerfacecolor="none", linestyle="",
                   label="pruned (best epoch)")
        )  # fmt: skip
    hidden = sum(value < bottom for value in values)
    if hidden:
        handles.append(Line2D([], [], linestyle="", label=style.below(hidden, "trials")))
    style.legend_of(figure, handles)
    return figure


def _slice(
    axes: Axes, trials: Sequence[ReportTrial], name: str, distribution: BaseDistribution
) -> None:
    rng = np.random.default_rng(0)
    for family, done in sorted({(t.family, t.state == "complete") for t in trials}):
        shown = [t for t in trials if (t.family, t.state == "complete") == (family, done)]
        colour = style.FAMILY.get(family, style.GREY)
        scatter(
            axes, shown,
            [_x(distribution, t.searched[name], rng) for t in shown], [t.best or 0.0 for t in shown],
            s=16, marker=style.MARKER.get(family, "D"), edgecolors=colour, linewidths=0.8,
            facecolors=colour if done else "none", alpha=0.9 if done else 0.6,
        )  # fmt: skip
    axes.set_title(name, fontsize=9)
    if isinstance(distribution, CategoricalDistribution):
        labels = [_short(str(choice)) for choice in distribution.choices]
        axes.set_xticks(range(len(labels)), labels, fontsize=8)
        axes.set_xlim(-0.5, len(labels) - 0.5)
        if max(map(len, labels)) > 8:
            axes.tick_params(axis="x", labelrotation=18)
    else:
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        _whole_range(axes, distribution)


def _whole_range(axes: Axes, distribution: FloatDistribution | IntDistribution) -> None:
    """Show the whole searched range on the x axis, not only the part with trials."""
    low, high = distribution.low, distribution.high
    if distribution.log:
        axes.set_xscale("log")
        margin = (high / low) ** 0.05
        axes.set_xlim(low / margin, high * margin)
        whole = math.floor(math.log10(high * margin)) - math.ceil(math.log10(low / margin)) + 1
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0,) if whole > 1 else (1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        margin = 0.05 * (high - low)
        axes.set_xlim(low - margin, high + margin)
        integer = isinstance(distribution, IntDistribution)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=integer))
    axes.tick_params(axis="x", labelsize=8)


def _x(distribution: BaseDistribution, value: float, rng: np.random.Generator) -> float:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices.index(value) + float(rng.uniform(-0.15, 0.15))
    return value


def _short(name: str) -> str:
    for long, short in (("weighted_cross_entropy", "weighted CE"), ("cross_entropy", "CE")):
        name = name.replace(long, short)
    return name
