"""Build the section on the second stage: how the winner was chosen, and how lucky the search values were."""

from __future__ import annotations

from ..evaluation.race_text import race_text
from ..results import Race, RaceFinalist
from .gather import Gathered
from .parts import Section, Table


def choice(study: Gathered) -> Section:
    """Show the finalists of the second stage, or say that there was none."""
    title, race = "The choice of the winner", study.selection
    if race is None or not race.finalists:
        return Section(title, [_without(study)])
    rows = [
        (
            f.trial,
            f.search_value,
            f.mean,
            _n(f),
            f.n_parameters,
            f.latency_ms,
            _mark(f, race.winner),
        )
        for f in race.finalists
    ]
    mean = "mean at the final length" if race.is_ladder else "mean of fresh seeds"
    columns = ["trial", "search value", mean, "n", "weights", "ms per image", ""]
    text = f"{_how(race)} {race_text(race)}"
    if (race.optimism or 0) > 0:
        text += " Picking the best of many noisy values makes search values too high."
    table = Table("finalists", f"Finalists (preferred: {race.prefer})", columns, rows)
    return Section(title, [text], tables=[table])


def _how(race: Race) -> str:
    """Say how the finalists were trained."""
    if not race.is_ladder:
        return (
            f"The best {len(race.finalists)} trials were trained again with fresh seeds, the same for all. "
            "Trials that were clearly worse left early."
        )
    text = (
        "The best trials went on to longer trainings with fresh seeds, the same for all, and the last "
        f"{len(race.finalists)} to the final length, where the worse half left after each seed."
    )
    if n_chose := race.n_chose:
        trainings = "training is" if n_chose == 1 else f"{n_chose} trainings are"
        text += f" The winner's first {trainings} among its replicates, whose mean on validation is a little "
        text += "too high for that."
    return text


def _without(study: Gathered) -> str:
    """Say why there are no finalists."""
    if study.final is not None:
        return f"Trial {study.final.trial} was evaluated without a second stage."
    if study.winner is None:
        return "No winner yet: no trial is complete."
    return (
        f"No winner yet: trial {study.winner.label} leads the search. `bloodsearch final-eval` trains the "
        "best trials again with fresh seeds before it chooses."
    )


def _n(finalist: RaceFinalist) -> int:
    return len(finalist.values) + finalist.n_diverged


def _mark(finalist: RaceFinalist, winner: int) -> str:
    marks = ["winner"] * (finalist.trial == winner)
    return ", ".join(marks + [f"{finalist.n_diverged} diverged"] * bool(finalist.n_diverged))
