"""The sections of any study's report, in reading order, but for what needs predictions."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from optuna.distributions import CategoricalDistribution

from ..data.bloodmnist import CLASS_NAMES, N_IMAGES
from ..evaluation.finalists import finalist_rows, race_text
from ..records import Race
from . import data_figures, progress_figures, space_figures, style
from .gather import Gathered, TrialRecord
from .health import Check
from .importance import MIN_TRIALS, Importance, position
from .parts import Picture, Section, Table

N_TOP = 10
N_CURVES = 5
FANOVA = (
    "fANOVA over complete trials with four seeds (bars: one standard deviation between them). The "
    "optimizers' learning rates count as one parameter, the position in their range. What only some "
    "trials of a group have is not in its panel."
)


def data(study: Gathered) -> Section:
    """Samples and class counts, of the training and validation splits."""
    if study.dataset is None:
        return Section("The data", warnings=[f"No pictures of the data: {study.no_data}"])
    found = study.dataset
    counts = {
        "train": np.bincount(found.train_labels, minlength=8).tolist(),
        "validation": np.bincount(found.val_labels, minlength=8).tolist(),
    }
    total = np.sum(list(counts.values()), axis=0)
    small, large = int(total.argmin()), int(total.argmax())
    describe = found.fingerprint.describe()
    title = (
        f"The rarest class ({CLASS_NAMES[small]}) has "
        f"{total[small] / total[large]:.0%} of the images of the largest ({CLASS_NAMES[large]})"
    )
    rows = [
        (name, *(counts[split][i] for split in counts), int(total[i]), 100 * total[i] / total.sum())
        for i, name in enumerate(CLASS_NAMES)
    ]
    return Section(
        "The data",
        [
            f"{describe[0].upper()}{describe[1:]}: {N_IMAGES['train']:,} training, {N_IMAGES['val']:,} "
            f"validation and {N_IMAGES['test']:,} test images of 28 x 28 pixels in eight classes. "
            "The test split is sealed: nothing on this page was read from it but the numbers of "
            "the final evaluation."
        ],
        [
            Picture(
                "samples",
                "Eight cells of each class: the first of the training split",
                functools.partial(
                    data_figures.samples, found, "Eight cells of each class, as the models see them"
                ),
            ),
            Picture("classes", title, functools.partial(data_figures.distribution, counts, title)),
        ],
        [
            Table(
                "classes",
                "Images of each class",
                ["class", *counts, "both", "% of both"],
                rows,
                digits=1,
            )
        ],
    )


def search(study: Gathered) -> Section:
    """Build the history and the leaderboard."""
    counts = Counter(t.state for t in study.trials)
    text = ", ".join(f"{n} {state}" for state, n in counts.most_common())
    history = _history(study)
    pictures = [] if history is None else [history]
    rows = [
        (
            t.number, t.value, t.family, t.baseline or "", t.epochs,
            None if t.train_seconds is None else round(t.train_seconds), t.n_parameters,
            " ".join(f"{k}={_short(v)}" for k, v in (t.raw.params or t.params).items()),
        )
        for t in study.complete[:N_TOP]
    ]  # fmt: skip
    columns = ["trial", "val. macro-F1", "family", "baseline", "epochs", "training s", "weights"]
    table = Table(
        "leaderboard", f"The top {len(rows)} of {len(study.complete)} complete trials",
        [*columns, "what was searched"], rows,
        "Fixed parameters are in the study file; `bloodsearch show TRIAL` lists all.",
    )  # fmt: skip
    return Section("The search", [f"{len(study.trials)} trials: {text}."], pictures, [table])


def choice(study: Gathered) -> Section:
    """The second stage: how the winner was chosen, and how lucky the search values were."""
    title, raced = "The choice of the winner", study.selection
    if raced is None:
        return Section(
            title,
            [
                "There was no second stage, in which `bloodsearch final-eval` trains the best trials again "
                "with fresh seeds: the winner is the one with the best search value, or the one named."
            ],
        )
    rows = finalist_rows(raced)
    columns = ["trial", "search value", "mean of fresh seeds", "n", "weights", "ms an image", ""]
    text = (
        f"The best {len(rows)} trials were trained again with fresh seeds, the same for all; those "
        f"clearly worse left early. {race_text(Race.read(raced))} Search values are optimistic because "
        "they were picked as the best of many noisy ones."
    )
    table = Table("finalists", f"Finalists, chosen by: {raced['prefer']}", columns, rows)
    return Section(title, [text], tables=[table])


def _history(study: Gathered) -> Picture | None:
    if not study.finished:
        return None
    title = "No trial is complete yet"
    if study.complete:
        best = study.complete[0]
        title = (
            f"Best validation macro-F1 {best.value:.4f}: trial {best.label} of {len(study.trials)}"
        )
    return Picture(
        "history", title, functools.partial(progress_figures.history, study.finished, title),
        "A pruned trial is shown at its best epoch; `bloodsearch show TRIAL` says why it was stopped.",
    )  # fmt: skip


def learning(study: Gathered) -> Section:
    """Learning curves of the top trials."""
    top = [t for t in study.complete if t.curve][:N_CURVES]
    if not top:
        return Section("Learning curves", warnings=[_nothing_complete(study)])
    late = sum(t.best_epoch == t.epochs for t in top)
    title = f"Learning curves of the top {len(top)} trials: {late} were best in their last epoch"
    picture = Picture(
        "curves", title, functools.partial(progress_figures.curves, top, title),
        "The training loss is the trial's own (smoothed, weighted, augmented images): compare shapes only.",
    )  # fmt: skip
    return Section("Learning curves", pictures=[picture])


def families(study: Gathered) -> Section:
    """Macro-F1 by family and size, and what the cheaper models cost in F1."""
    known = [t for t in study.complete if t.n_parameters]
    if not known:
        return Section("Families, size and cost", warnings=[_nothing_complete(study)])
    best: dict[str, TrialRecord] = {}
    for trial in known:
        best.setdefault(trial.family, trial)
    parts = [f"best {style.FAMILY_NAME.get(f, f)} {t.value:.4f}" for f, t in best.items()]
    title = "Family and size: " + ", ".join(parts)
    front = progress_figures.frontier(known, "n_parameters")
    cheap = next(t for t in front if (t.value or 0) >= (known[0].value or 0) - 0.01)
    size = (cheap.n_parameters or 0) / 1000
    cost = f"{size:,.0f} thousand weights (trial {cheap.label}) come within 0.01 of the best"
    rows = [
        (t.number, t.family, t.value, t.n_parameters, round(t.train_seconds or 0)) for t in front
    ]  # fmt: skip
    return Section(
        "Families, size and cost",
        pictures=[
            Picture("families", title, functools.partial(progress_figures.families, known, title)),
            Picture("pareto", cost, functools.partial(progress_figures.pareto, known, cost),
                    "Seconds are of the machine that trained the trial, with what else it did."),
        ],
        tables=[Table("pareto", "Trials that no smaller one beats",
                      ["trial", "family", "validation macro-F1", "weights", "training s"], rows)],
    )  # fmt: skip


def space(study: Gathered, found: Sequence[Importance], health: Sequence[Check]) -> Section:
    """Importances, slices and the health of the search space."""
    pictures, text = [], []
    if found:
        top = next(iter(found[0].mean))
        title = f"Of what all complete trials have in common, {top} explains most"
        pictures.append(
            Picture("importances", title, functools.partial(space_figures.importance, found, title),
                    FANOVA)
        )  # fmt: skip
    else:
        text.append(f"Importances need {MIN_TRIALS} complete trials with searched parameters.")
    searched = [t for t in study.finished if t.raw.params and t.best is not None]
    for group, names in _groups(searched).items():
        title = where_the_best_lie(searched, names) or f"Validation macro-F1 against {group}"
        pictures.append(
            Picture(f"slices-{group.split()[0].lower()}", title,
                    functools.partial(space_figures.slices, searched, names, title))
        )  # fmt: skip
    table = Table(
        "health", "Health of the search space", ["check", "verdict", "found", "what to do"],
        [(c.name, c.status, c.found, c.advice) for c in health],
    )  # fmt: skip
    warnings = [
        f"{c.name.capitalize()}: {c.found}. {c.advice[:1].upper()}{c.advice[1:]}."
        for c in health
        if c.status == "look"
    ]
    return Section("The search space", text, pictures, [table], warnings)


def where_the_best_lie(trials: Sequence[TrialRecord], names: Sequence[str]) -> str:
    """The number whose values among the top quarter are the narrowest part of its range."""
    complete = sorted((t for t in trials if t.value is not None), key=lambda t: -(t.value or 0))
    found: list[tuple[float, str]] = []
    for name in names:
        mine = [t for t in complete if name in t.raw.params]
        top = mine[: math.ceil(len(mine) / 4)]
        if len(top) < 3 or isinstance(mine[0].raw.distributions[name], CategoricalDistribution):
            continue
        values = [t.raw.params[name] for t in top]
        places = [position(mine[0].raw.distributions[name], value) for value in values]
        low, high = _short(min(values)), _short(max(values))
        there = f"= {low}" if low == high else f"in {low} .. {high}"
        text = f"The top {len(top)} of {len(mine)} complete trials have {name} {there}"
        found.append((max(places) - min(places), text))
    return min(found, default=(0.0, ""))[1]


def _groups(trials: Sequence[TrialRecord]) -> dict[str, list[str]]:
    """Searched parameters by who has them: shared ones, those of the MLPs, those of the CNNs."""
    names = list(dict.fromkeys(name for t in trials for name in t.raw.params))
    groups = {
        "shared parameters": [n for n in names if not n.startswith(("mlp_", "cnn_"))],
        "MLP parameters": [n for n in names if n.startswith("mlp_")],
        "CNN parameters": [n for n in names if n.startswith("cnn_")],
    }
    return {group: members for group, members in groups.items() if members}


def _nothing_complete(study: Gathered) -> str:
    return f"No trial of {study.info.name} is complete yet: run `bloodsearch optimize` on."


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
