"""The pictures of a search: what their axes show, and what they leave out with a word."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from matplotlib.figure import Figure
from report_support import MakeStudy
from tests_support import tiny_study

from bloodsearch.search.database.storage import Storage
from bloodsearch.search.report import progress_figures, space_figures, style
from bloodsearch.search.report.gather import ReportTrial, gather, searched_space

SPACE = searched_space(tiny_study())
ONE_FAILED = [0.90, 0.91, 0.92, 0.49, 0.93, 0.94]
DRAW: dict[str, Callable[[Sequence[ReportTrial]], Figure]] = {
    "history": lambda trials: progress_figures.history(trials, "t"),
    "families": lambda trials: progress_figures.families(trials, "t"),
    "pareto": lambda trials: progress_figures.pareto(trials, "t"),
    "slices": lambda trials: space_figures.slices(trials, ["lr"], SPACE, "t"),
}


@pytest.mark.parametrize("name", DRAW)
def test_one_failed_trial_does_not_squeeze_the_others(
    storage: Storage, make_study: MakeStudy, name: str
) -> None:
    trials = gather(storage, make_study(ONE_FAILED), None).complete
    figure = DRAW[name](trials)
    notes = [axes.get_xlabel() for axes in figure.axes]
    notes += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    for axes in figure.axes:
        assert axes.get_ylim()[0] > 0.8
    assert any("(1 trial below the axis)" in note for note in notes)


@pytest.mark.parametrize("values", [[0.5], [0.9, 0.9, 0.9, 0.9, 0.9], [0.5, 0.9], [0.8, 0.9, 0.95]])
def test_few_or_equal_values_are_all_shown(values: list[float]) -> None:
    low, high = style.limits(values)
    assert low < min(values) <= max(values) < high


def test_notes_that_touch_are_thinned_out() -> None:
    with style.styled():
        figure, axes = style.one("two notes a pixel apart")
        first = axes.annotate("12", (0.5, 0.5))
        figure.draw_without_rendering()
        edge = axes.transData.inverted().transform(first.get_window_extent().get_points())[1, 0]
        axes.annotate("13", (edge + 0.001, 0.5))
        style.thin_out(figure)
    assert [note.get_text() for note in axes.texts] == ["12"]
