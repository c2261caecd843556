"""The second stage in words and rows, as terminal and report show it."""

from __future__ import annotations

from typing import Any

from ..results import Race


def race_text(race: Race) -> str:
    """Return what a second stage measured, and whether it decided, as one sentence each."""
    sd = race.measured_sd
    lines = []
    if sd is None:
        lines.append("The standard deviation over seeds was not measured: one seed each.")
    else:
        lines.append(f"The standard deviation over seeds {sd:.4f} is pooled over the finalists.")
    if race.optimism is not None:
        direction = "high" if race.optimism >= 0 else "low"
        lines.append(
            f"The search values were too {direction} by {abs(race.optimism):.4f} on average."
        )
    if (high := race.winner_optimism) is not None:
        lines.append(
            f"The winner's mean is about {max(0.0, high):.4f} too high because it was picked; what these "
            "validation images favour comes on top."
        )
    elif len(race.finalists) > 1:
        lines.append(
            "By how much the winner's mean is too high because it was picked is not known: that takes three "
            "finalists and a second seed."
        )
    if race.undecided:
        trials = ", ".join(map(str, race.undecided))
        noun = f"trial {trials} is" if len(race.undecided) == 1 else f"trials {trials} are"
        lines.append(
            f"The choice is undecided: {noun} not clearly worse than trial {race.winner}"
            + ("." if race.is_ladder else "; --rounds trains more seeds.")
        )
    return " ".join(lines)


def finalist_rows(raced: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return a stored race as rows: trial, search value, fresh mean, n, parameters, ms per image, mark."""

    def mark(finalist: dict[str, Any]) -> str:
        diverged = finalist.get("n_diverged", 0)  # older races do not know it
        marks = ["winner"] * (finalist["trial"] == raced["winner"])
        return ", ".join(marks + [f"{diverged} diverged"] * bool(diverged))

    return [
        (
            f["trial"], f["search_value"], f["mean"], len(f["values"]) + f.get("n_diverged", 0),
            f["n_parameters"], f["latency_ms"], mark(f),
        )
        for f in raced["finalists"]
    ]  # fmt: skip
