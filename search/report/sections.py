"""Build the sections of any study's report, in reading order, except those that need predictions."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterable, Sequence

from optuna.distributions import CategoricalDistribution

from . import progress_figures, space_figures, style
from .gather import UNTRAINABLE, Gathered, ReportTrial, Space
from .health import MIN_SEARCHED, Check
from .importance import MIN_TRIALS, Importance, position
from .leaderboard import leaderboard, seconds
from .parts import Picture, Section, Table
from .words import short

N_CURVES = 5
NARROW = 0.5
"""The largest part of a range in which it is worth saying that the best trials are."""
FANOVA = (
    "Importances are measured by fANOVA over complete trials with four seeds; the bars are one standard "
    "deviation between the seeds. The optimizers' learning rates count as one parameter, the position in "
    "the range. A panel leaves out parameters that only some of its trials have; of more than 300 "
    "trials it draws 300."
)


def search(study: Gathered) -> Section:
    """Show the history and the leaderboard."""
    counts = Counter(t.state for t in study.trials)
    text = ", ".join(f"{n} {state}" for state, n in counts.most_common())
    history = _history(study)
    table = leaderboard(study)
    pictures = [] if history is None else [history]
    lines = [f"{len(study.trials)} trials: {text}." if study.trials else "There are no trials yet."]
    return Section("The search", lines, pictures, [table], _oddities(study))


def _oddities(study: Gathered) -> list[str]:
    """Name the trials that the pictures and checks cannot use as they use the others."""
    lines = []
    failed = [t.number for t in study.trials if t.state == "fail"]
    if failed:
        command = f"`bloodsearch show {failed[0]} --name {study.info.name}`"
        lines.append(f"{_trials(failed)} failed. {command} prints the traceback.")
    foreign = [t.number for t in study.trials if t.foreign]
    if foreign:
        lines.append(
            f"{_trials(foreign)} ended in another program, so only the score and the sampled parameters "
            "are known. Such a trial cannot be the winner."
        )
    for trial in (t for t in study.trials if t.outside):
        values = ", ".join(f"{name} = {short(v)}" for name, v in trial.outside.items())
        lines.append(
            f"Trial {trial.number} is outside the study's space ({values}). Importances and the checks of "
            "the space leave it out."
        )
    return lines


def _trials(numbers: Sequence[int]) -> str:
    return f"Trial{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


def _history(study: Gathered) -> Picture | None:
    shown = [t for t in study.finished if t.best is not None]
    if not shown:
        return None
    title = "No trial is complete yet"
    if study.complete:
        best = study.complete[0]
        title = (
            f"Best validation macro-F1 {best.value:.4f}: trial {best.label} of {len(study.trials)}"
        )
    caption = "A pruned trial is shown at its best epoch. `bloodsearch show TRIAL` says why it was pruned."
    untrained = Counter(t.ending for t in study.finished if t.ending in UNTRAINABLE)
    if untrained:
        causes = ", ".join(f"{n} {ending.replace('_', ' ')}" for ending, n in untrained.items())
        caption += f" Trials without a score are not shown: {causes}."
    return Picture(
        "history", title, functools.partial(progress_figures.history, shown, title), caption
    )


def learning(study: Gathered) -> Section:
    """Show the learning curves of the best trials."""
    top = [t for t in study.complete if t.curve][:N_CURVES]
    if not top:
        return Section("Learning curves", warnings=[_nothing_complete(study)])
    late = sum(t.record.best_epoch == t.epochs for t in top)
    many = f"the best {len(top)} trials" if len(top) > 1 else f"trial {top[0].label}"
    title = f"Learning curves of {many}: {late} of {len(top)} had the best epoch last"
    picture = Picture(
        "curves", title, functools.partial(progress_figures.curves, top, title),
        "Each trial's training loss includes its own label smoothing, class weights and augmentation, so "
        "compare the shapes and not the levels.",
    )  # fmt: skip
    return Section("Learning curves", pictures=[picture])


def families(study: Gathered) -> Section:
    """Show macro-F1 by family, size and cost."""
    trials = [t for t in study.complete if t.record.n_parameters]
    if not trials:
        return Section("Families, size and cost", warnings=[_nothing_complete(study)])
    best: dict[str, ReportTrial] = {}
    for trial in trials:
        best.setdefault(trial.family, trial)
    parts = [f"best {style.family_name(f)} {t.value:.4f}" for f, t in best.items()]
    title = "Family and size: " + ", ".join(parts)
    front = progress_figures.frontier(trials, "n_parameters")
    cheap = next(t for t in front if (t.value or 0) >= (trials[0].value or 0) - 0.01)
    cost = (
        f"The smallest model within 0.01 of the best has {cheap.record.n_parameters:,} weights "
        f"(trial {cheap.label})"
    )
    rows = [
        (t.number, t.family, t.value, t.record.n_parameters, seconds(t)) for t in front
    ]  # fmt: skip
    return Section(
        "Families, size and cost",
        pictures=[
            Picture("families", title, functools.partial(progress_figures.families, trials, title)),
            Picture("pareto", cost, functools.partial(progress_figures.pareto, trials, cost),
                    "Training times depend on the machine and on its other load."),
        ],
        tables=[Table("pareto", "Trials that no smaller model beats",
                      ["trial", "family", "validation macro-F1", "weights", "training s"], rows)],
    )  # fmt: skip


def space(study: Gathered, importances: Sequence[Importance], health: Sequence[Check]) -> Section:
    """Show importances, slices and the health of the search space."""
    pictures, text = [], []
    if importances:
        top = next(iter(importances[0].mean))
        title = f"Among the parameters that all complete trials share, {top} explains most"
        pictures.append(
            Picture("importances", title,
                    functools.partial(space_figures.importance, importances, title), FANOVA)
        )  # fmt: skip
    else:
        n = sum(t.value is not None for t in study.searched)
        text.append(
            f"Importances need {MIN_TRIALS} complete trials of the search with different values. "
            f"This study has {n}."
        )
    if not health:
        text.append(
            f"The search space is checked once {MIN_SEARCHED} trials of the search have finished. "
            f"This study has {len(study.searched)}; baselines do not count."
        )
    shown = [t for t in study.finished if t.searched and t.best is not None]
    for group, names in _groups(shown).items():
        title = where_the_best_lie(shown, names, study.space)
        title = title or f"Validation macro-F1 by {group}"
        pictures.append(
            Picture(f"slices-{group.split()[0].lower()}", title,
                    functools.partial(space_figures.slices, shown, names, study.space, title))
        )  # fmt: skip
    table = Table(
        "health", "Health of the search space", ["check", "verdict", "finding", "what to do"],
        [(c.name, c.status, c.finding, c.advice) for c in health],
    )  # fmt: skip
    warnings = [f"{_sentence(c.name)}: {c.finding}. {_sentence(c.advice)}."
                for c in health if c.status == "look"]  # fmt: skip
    return Section("The search space", text, pictures, [table], warnings)


def where_the_best_lie(trials: Iterable[ReportTrial], names: Sequence[str], space: Space) -> str:
    """Describe the number whose values among the top quarter are the narrowest part of its range."""
    complete = sorted((t for t in trials if t.value is not None), key=lambda t: -(t.value or 0))
    spans: list[tuple[float, str]] = []
    for name in names:
        having = [t for t in complete if name in t.searched]
        top = having[: math.ceil(len(having) / 4)]
        if len(top) < 3 or isinstance(space[name], CategoricalDistribution):
            continue
        values = [t.searched[name] for t in top]
        places = [position(space[name], value) for value in values]
        low, high = short(min(values)), short(max(values))
        there = f"= {low}" if low == high else f"from {low} to {high}"
        text = f"The best {len(top)} of {len(having)} complete trials have {name} {there}"
        spans.append((max(places) - min(places), text))
    span, text = min(spans, default=(0.0, ""))
    return text if span <= NARROW else ""


def _groups(trials: Sequence[ReportTrial]) -> dict[str, list[str]]:
    """Group the searched parameters: shared ones, those of MLPs, those of CNNs."""
    names = list(dict.fromkeys(name for t in trials for name in t.searched))
    groups = {
        "shared parameters": [n for n in names if not n.startswith(("mlp_", "cnn_"))],
        "MLP parameters": [n for n in names if n.startswith("mlp_")],
        "CNN parameters": [n for n in names if n.startswith("cnn_")],
    }
    return {group: members for group, members in groups.items() if members}


def _nothing_complete(study: Gathered) -> str:
    if study.complete:
        return "No complete trial has a training record of bloodsearch."
    return f"No trial of {study.info.name} is complete yet. Run `bloodsearch optimize` again to continue."


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
