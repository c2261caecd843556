"""Draw how the search went: history, learning curves, families, cost."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from . import style
from .gather import ReportTrial
from .points import remember, scatter

F1 = "validation macro-F1"


def history(trials: Sequence[ReportTrial], title: str) -> Figure:
    """Draw value by trial number: complete trials filled, pruned ones hollow, the best so far as a line."""
    figure, axes = style.one(title)
    for family in _families(trials):
        shown = [t for t in trials if t.family == family]
        colour, marker = style.look(family)
        complete = [t for t in shown if t.state == "complete"]
        pruned = [t for t in shown if t.state == "pruned" and t.best is not None]
        scatter(
            axes, complete, [t.number for t in complete], [t.best or 0 for t in complete],
            s=32, c=colour, marker=marker, label=f"{style.family_name(family)}, complete",
        )  # fmt: skip
        if pruned:
            scatter(
                axes, pruned, [t.number for t in pruned], [t.best or 0 for t in pruned],
                s=28, marker=marker, facecolors="none", edgecolors=colour, linewidths=1,
                label=f"{style.family_name(family)}, pruned (best epoch)",
            )  # fmt: skip
    numbers, best = _best_so_far(trials)
    axes.step(numbers, best, where="post", color=style.INK, linewidth=1.2, label="best so far")
    axes.set(xlabel="trial number", ylabel=F1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.zoom(axes, [t.best for t in trials if t.best is not None], "trials")
    style.legend(figure, axes, 3)
    return figure


def curves(trials: Sequence[ReportTrial], title: str) -> Figure:
    """Draw macro-F1 and both losses by epoch, a colour per trial."""
    figure, (left, right) = style.several(title, 1, 2, 3.8)
    handles: list[Line2D] = []
    for i, trial in enumerate(trials):
        colour = style.CYCLE[i % len(style.CYCLE)]
        val_losses, train_losses = trial.record.val_losses or [], trial.record.train_losses or []
        epochs = range(1, len(trial.curve) + 1)
        (line,) = left.plot(
            epochs, trial.curve, color=colour, marker=".", label=f"trial {trial.label}"
        )
        handles.append(line)
        remember(left, epochs, trial.curve, [trial.number] * len(epochs))
        right.plot(range(1, len(val_losses) + 1), val_losses, color=colour)
        right.plot(range(1, len(train_losses) + 1), train_losses, "--", color=colour)
    left.set(xlabel="epoch", ylabel=F1)
    if len(trials) > 1:
        style.zoom(left, [value for trial in trials for value in trial.curve], "points")
    right.set(xlabel="epoch", ylabel="loss (nats per image)")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles.append(Line2D([], [], color=style.INK, label="validation loss"))
    handles.append(Line2D([], [], color=style.INK, linestyle="--", label="training loss"))
    style.legend_of(figure, handles)
    return figure


def families(trials: Sequence[ReportTrial], title: str) -> Figure:
    """Draw macro-F1 of complete trials by number of weights, a colour per family."""
    figure, axes = style.one(title)
    for family in _families(trials):
        shown = [t for t in trials if t.family == family and t.record.n_parameters]
        colour, marker = style.look(family)
        scatter(
            axes, shown, [t.record.n_parameters or 0 for t in shown], [t.value or 0 for t in shown],
            s=36, c=colour, marker=marker, alpha=0.85,
            label=f"{style.family_name(family)} (n = {len(shown)})",
        )  # fmt: skip
    style.log_axis(axes, "trainable weights")
    axes.set_ylabel(F1)
    style.zoom(axes, [t.value or 0 for t in trials], "trials")
    style.legend(figure, axes)
    return figure


def pareto(trials: Sequence[ReportTrial], title: str) -> Figure:
    """Draw macro-F1 by weights and by training time; the line joins the trials that none beats on both."""
    figure, panels = style.several(title, 1, 2, 3.8)
    costs = (("weights", "n_parameters"), ("training time in seconds", "train_seconds"))
    for axes, (label, attribute) in zip(panels, costs, strict=True):
        costly = [t for t in trials if _cost(t, attribute)]
        if not costly:
            axes.set_visible(False)
            continue
        for family in _families(costly):
            shown = [t for t in costly if t.family == family]
            colour, marker = style.look(family)
            scatter(
                axes, shown, [_cost(t, attribute) for t in shown], [t.value or 0 for t in shown],
                s=30, c=colour, marker=marker, alpha=0.8, label=style.family_name(family),
            )  # fmt: skip
        front = frontier(costly, attribute)
        axes.plot(
            [_cost(t, attribute) for t in front], [t.value or 0 for t in front],
            color=style.INK, linewidth=1, drawstyle="steps-post", label="none better and cheaper",
        )  # fmt: skip
        style.log_axis(axes, label)
        axes.set_ylabel(F1)
        style.zoom(axes, [t.value or 0 for t in costly], "trials")
        for trial in front[::-1]:
            if (trial.value or 0) >= axes.get_ylim()[0]:
                axes.annotate(
                    str(trial.number), (_cost(trial, attribute), trial.value or 0),
                    xytext=(3, 4), textcoords="offset points", fontsize=8,
                )  # fmt: skip
    style.legend(figure, panels[0])
    style.thin_out(figure)  # the table beside the picture lists the trials whose notes go
    return figure


def frontier(trials: Sequence[ReportTrial], attribute: str) -> list[ReportTrial]:
    """Return the trials that no other beats on both value and cost, cheapest first."""
    usable = [t for t in trials if _cost(t, attribute) and t.value is not None]
    front: list[ReportTrial] = []
    for trial in sorted(usable, key=lambda t: (_cost(t, attribute), -(t.value or 0))):
        if not front or (trial.value or 0) > (front[-1].value or 0):
            front.append(trial)
    return front


def _cost(trial: ReportTrial, attribute: str) -> float:
    """Return a cost from the trial's record; 0 if it is unknown."""
    return getattr(trial.record, attribute) or 0.0


def _best_so_far(trials: Sequence[ReportTrial]) -> tuple[list[int], list[float]]:
    numbers: list[int] = []
    best: list[float] = []
    for trial in sorted(trials, key=lambda t: t.number):
        if trial.value is not None and (not best or trial.value > best[-1]):
            numbers.append(trial.number)
            best.append(trial.value)
    if numbers:
        numbers.append(max(t.number for t in trials))
        best.append(best[-1])
    return numbers, best


def _families(trials: Sequence[ReportTrial]) -> list[str]:
    return sorted({t.family for t in trials})
