"""The tables of `whole_searches`: scores beside those of rivals, agreement of rungs, declared options."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from scipy.stats import spearmanr, ttest_ind

from benchmarks.common import table

BEFORE = "ours until 2026-11-27"
"""Searches of a version without rotations, whose final networks had 16 filters. They are shown, not run."""


def most_trained(finals: list[dict[str, Any]]) -> int:
    """Return the configuration with the most final trainings, which is the winner."""
    trials: list[int] = [run["trial"] for run in finals]
    return max(set(trials), key=trials.count)


def show(runs: dict[str, dict[str, Any]], contenders: Sequence[str]) -> None:
    """Print the mean test score over searches (over trainings without one), and how far ours is above."""
    for minutes in sorted({run["minutes"] for run in runs.values()}):
        of = {
            contender: [
                run
                for run in runs.values()
                if (run["minutes"], run["contender"]) == (minutes, contender)
            ]
            for contender in contenders
        }
        rows = [_row(name, group, of["ours"]) for name, group in of.items() if group]
        columns = ["contender", "runs", "trainings tested, each", "epochs of one"]
        columns += [
            "test macro-F1 (sd)",
            "n",
            "ours is higher by (95 %)",
            "minutes in all",
        ]
        table(f"{minutes:g} minutes for search and final trainings, test included", columns, rows)
    show_rungs(runs)
    show_options(runs)


def show_options(runs: dict[str, dict[str, Any]]) -> None:
    """Print what averages of the final replicates' predictions gain over the mean of the replicates."""
    gains: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for run in runs.values():
        for option in run["options"]:
            value = statistics.fmean(option["test_macro_f1"])
            pair = value, value - statistics.fmean(run["test_macro_f1"])
            gains.setdefault(
                (f"{run['contender']}, {run['minutes']:g} minutes", option["option"]), []
            ).append(pair)
    rows = [
        [*key, str(len(pairs)), *(mean_and_sd(column) for column in zip(*pairs, strict=True))]
        for key, pairs in gains.items()
    ]
    columns = ["contender", "option", "searches", "test macro-F1 (sd over searches)", "gain"]
    if rows:
        table("declared options, scored at the same opening of the test split", columns, rows)


def _samples(group: list[dict[str, Any]]) -> list[float]:
    """Return independent scores: a search's mean, or each training of a network that was not searched.

    The seeds of a search share what it has chosen. Those of a hand-made network share nothing, so one run of
    five is five samples.
    """
    if any(run["n_trials"] for run in group):
        return [statistics.fmean(run["test_macro_f1"]) for run in group]
    return [value for run in group for value in run["test_macro_f1"]]


def _row(name: str, group: list[dict[str, Any]], ours: list[dict[str, Any]]) -> list[str]:
    n_tested = sorted({len(run["test_macro_f1"]) for run in group})
    return [
        name,
        str(len(group)),
        ", ".join(map(str, n_tested)),
        ", ".join(map(str, sorted({run["epochs"] for run in group}))),
        mean_and_sd(samples := _samples(group)),
        str(len(samples)),
        "" if group is ours else _higher(ours, group),
        f"{statistics.fmean(run['seconds'] for run in group) / 60:.1f}",
    ]


def mean_and_sd(values: Sequence[float]) -> str:
    """Return the mean of values, with their standard deviation if there are several."""
    spread = f" ({statistics.stdev(values):.4f})" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4f}{spread}"


def _higher(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> str:
    """Return the difference of the means, with Welch's interval."""
    pair = [_samples(group) for group in (ours, theirs)]
    if not all(pair):
        return ""
    difference = f"{statistics.fmean(pair[0]) - statistics.fmean(pair[1]):+.4f}"
    if min(map(len, pair)) < 2:
        return difference
    low, high = ttest_ind(*pair, equal_var=False).confidence_interval(0.95)
    return f"{difference} ({low:+.4f} .. {high:+.4f})"


def show_rungs(runs: dict[str, dict[str, Any]]) -> None:
    """Print how the rungs of each search agree, and what the winner is worth when it is trained anew."""
    rows = []
    for name, run in runs.items():
        of = {key.removeprefix("whole").strip("-"): rung for key, rung in run["rungs"].items()}
        if "finals" not in of:
            continue
        last = [r for r in of["finals"] if r["trial"] == most_trained(of["finals"])]
        winner = last[0]["trial"]
        rows.append(
            [name, str(len(of[""])), f"{max(r['value'] for r in of['']):.4f}",
             *(_agreement(of, *pair) for pair in (("", "rung-2"), ("rung-2", "finals"))),
             _value(of[""], winner), _value(of.get("rung-2", []), winner),
             mean_and_sd([r["value"] for r in last]), mean_and_sd(run["test_macro_f1"])]
        )  # fmt: skip
    columns = ["search", "complete trials", "best of them", "Spearman, search and rung 2"]
    columns += ["rung 2 and finals", "the winner: search", "rung 2", "finals, validation", "test"]
    if rows:
        table("rungs (validation macro-F1 but for the last column; sd over seeds)", columns, rows)


def _value(rung: list[dict[str, Any]], trial: int) -> str:
    return next((f"{run['value']:.4f}" for run in rung if run["trial"] == trial), "")


def _agreement(of: dict[str, list[dict[str, Any]]], below: str, above: str) -> str:
    """Return the rank correlation of two rungs and the number of configurations that both trained."""
    first, second = (
        {run["trial"]: run["value"] for run in of.get(rung, [])} for rung in (below, above)
    )
    both = sorted(first.keys() & second.keys())
    if len(both) < 3:
        return ""
    found = spearmanr([first[trial] for trial in both], [second[trial] for trial in both])
    return f"{found.statistic:.2f} (n={len(both)})"
