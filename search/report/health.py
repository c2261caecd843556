"""Check the search space as a careful person would after a search.

Every check compares trials of the search with each other. Trials are compared only if they were trained
for the same number of epochs. With fewer than `MIN_SEARCHED` trials there are no checks.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..pruning.audit import TOP
from ..records import Ending
from ..sampling.grid import finite_points
from .edges import N_TOP, crowded_ends
from .gather import Gathered, ReportTrial
from .importance import Importance
from .words import plural

MIN_SEARCHED = 20
"""Finished trials of the search before anything is said about its space."""
NEVER_MATTERED = 0.02
MIN_PER_FAMILY = 8
FAR_BEHIND = 0.03
NEARLY_ALL = 0.9
"""The part of a space's points that makes it nearly exhausted."""

Status = Literal["good", "look", "too few trials"]

CAUSES = {
    Ending.DIVERGED: ("diverged", "lower the upper ends of the learning rates"),
    Ending.OUT_OF_MEMORY: (
        "ran out of memory",
        "lower the upper ends of batch size and widths, or use fewer workers per device",
    ),
    Ending.TOO_COSTLY: (
        "were too costly",
        "narrow widths and depths to models within the limits",
    ),
}
"""Why a trial was not trained to its end, and the remedy."""


@dataclass(frozen=True, slots=True)
class Check:
    """One finding about the search space and, if it is a problem, what to change."""

    name: str
    status: Status
    finding: str
    advice: str = ""


def checks(study: Gathered, importances: Sequence[Importance]) -> list[Check]:
    """Run the checks that the study's trials can answer, in the order of the report."""
    if len(study.searched) < MIN_SEARCHED or not study.complete:
        return []
    answers = [
        _edges(study),
        _never_mattered(study, importances),
        _rising(study),
        _ties(study),
        _endings(study),
        _audit(study),
        _duplicates(study),
        _families(study),
        _baselines(study),
    ]
    return [check for check in answers if check is not None]


def _searched(study: Gathered) -> list[ReportTrial]:
    """Return the search's complete trials, best first."""
    numbers = {t.number for t in study.searched}
    return [t for t in study.complete if t.number in numbers]


def _edges(study: Gathered) -> Check | None:
    name = "edges of the ranges"
    best = _searched(study)
    if not best:
        return None
    near = crowded_ends(best, study.space)
    if not near:
        return Check(name, "good", "the best trials do not crowd at an end of a range")
    return Check(name, "look", "; ".join(near), "widen these ranges on that side")


def _never_mattered(study: Gathered, importances: Sequence[Importance]) -> Check:
    name = "idle parameters"
    measured = [one for one in importances if one.n_trials >= MIN_SEARCHED]
    if not measured:
        n = len(_searched(study))
        text = f"{n} complete trials of the search; importances are judged from {MIN_SEARCHED}"
        return Check(name, "too few trials", text)
    largest: dict[str, float] = {}
    for one in measured:
        for parameter, share in one.mean.items():
            largest[parameter] = max(share, largest.get(parameter, 0.0))
    idle = sorted(p for p, share in largest.items() if share < NEVER_MATTERED)
    if not idle:
        text = (
            f"each parameter explains at least {NEVER_MATTERED:.0%} of the variance in some group"
        )
        return Check(name, "good", text)
    return Check(
        name, "look",
        f"these parameters explain less than {NEVER_MATTERED:.0%} of the variance in every group: "
        f"{', '.join(idle)}",
        "fix them at the winner's values, so the trials explore the others",
    )  # fmt: skip


def _rising(study: Gathered) -> Check | None:
    """Ask whether trainings end too early; only a constant learning rate can tell."""
    constant = [
        t
        for t in _searched(study)
        if (t.record.config or {}).get("schedule") == "constant" and t.record.best_epoch is not None
    ]
    top = constant[:N_TOP]
    if not top:
        return None
    rising = [
        t for t in top if t.record.best_epoch == t.epochs and t.ending is not Ending.EARLY_STOPPED
    ]
    text = f"{len(rising)} of the best {len(top)} trials were best in their last epoch"
    if len(rising) <= len(top) / 2:
        return Check("curves at the end", "good", text)
    return Check("curves at the end", "look", text, "train for more epochs")


def _ties(study: Gathered) -> Check | None:
    """Count the trials that are within the noise of the finite validation split."""
    trained = [t for t in study.complete if not t.foreign]
    accuracy = trained[0].record.val_accuracy if trained else None
    if accuracy is None:
        return None
    best = trained[0]
    n_images = study.info.n_judged
    half = 1.96 * math.sqrt(accuracy * (1 - accuracy) / n_images)
    tied = [t for t in trained if (t.value or 0) >= (best.value or 0) - half]
    if len(tied) == 1:
        return Check("ties", "good", f"no other trial is within {half:.4f} of the best")
    first, second = (f"{study.info.name}:{t.number}" for t in tied[:2])
    return Check(
        "ties", "look",
        f"{len(tied)} trials are within {half:.4f} of the best, the 95 % noise of "
        f"{n_images:,} images: {_listed(t.number for t in tied)}",
        f"compare them with fresh seeds: `bloodsearch compare {first} {second} --replicates 3`",
    )  # fmt: skip


def _endings(study: Gathered) -> Check:
    n = len(study.finished)
    counts = {ending: sum(t.ending is ending for t in study.trials) for ending in CAUSES}
    n_failed = sum(t.state == "fail" for t in study.trials)
    parts = [f"{sum(t.ending is Ending.PRUNED for t in study.trials)} of {n} trials were pruned"]
    parts += [f"{count} {CAUSES[ending][0]}" for ending, count in counts.items() if count]
    parts += [f"{n_failed} failed"] if n_failed else []
    advice = [CAUSES[ending][1] for ending, count in counts.items() if count > 0.1 * n]
    if n_failed:
        first = next(t for t in study.trials if t.state == "fail")
        command = f"`bloodsearch show {first.number} --name {study.info.name}`"
        advice.append(f"read the traceback with {command}")
    return Check("endings", "look" if advice else "good", ", ".join(parts), "; ".join(advice))


def _audit(study: Gathered) -> Check:
    """Count the trials that ran to their end although the pruner would have stopped them."""
    name = "pruner's audit"
    n = sum(t.record.audit is not None for t in study.complete)
    if not n:
        return Check(
            name, "too few trials", "the pruner would have stopped none of the audited trials"
        )
    missed = sum(t.record.audit is not None for t in study.complete[:TOP])
    text = (
        f"the pruner would have stopped {plural(n, 'audited trial')}, trained to the end all the same; "
        f"{missed} of {n} are among the best {TOP}"
    )
    if missed:
        advice = "prune later: raise `pruner.warmup_epochs`, or lower `pruner.chance` or `pruner.quantile`"
        return Check(name, "look", text, advice)
    return Check(name, "good", text)


def _duplicates(study: Gathered) -> Check:
    name = "duplicates"
    points = Counter(repr(sorted(t.params.items())) for t in study.searched)
    space = finite_points(study.info.study_file)
    total = None if space is None else len(space)
    repeats = len(study.searched) - len(points)
    if total is not None and len(points) >= NEARLY_ALL * total:
        return Check(
            name, "look", f"{len(points)} of the space's {total} points were tried",
            "the space is nearly exhausted: widen it or stop",
        )  # fmt: skip
    text = f"{repeats} of {len(study.searched)} trials repeat an earlier point"
    if repeats <= 0.1 * len(study.searched):
        return Check(name, "good", text)
    untried = (
        "" if total is None else f", while {total - len(points)} of {total} points are untried"
    )
    return Check(name, "look", text + untried, 'choose `search.sampler = "random"` or "grid"')


def _families(study: Gathered) -> Check:
    """Compare the families' best trials that were planned for the same number of epochs."""
    name, complete = "families", _searched(study)
    counts = Counter(t.family for t in study.searched)
    if len(counts) < 2:
        return Check(name, "good", f"one family: {', '.join(counts)}")
    for epochs in sorted({t.planned_epochs or 0 for t in complete}, reverse=True):
        alike = [t for t in complete if t.planned_epochs == epochs]
        enough = [f for f in counts if sum(t.family == f for t in alike) >= MIN_PER_FAMILY]
        if len(enough) > 1:
            return _compared(name, epochs, counts, {f: _best(alike, f) for f in enough})
    shares = ", ".join(f"{n} {family}" for family, n in counts.items())
    text = (
        f"{shares}; fewer than {MIN_PER_FAMILY} complete trials of two families have equal epochs"
    )
    return Check(name, "too few trials", text)


def _compared(name: str, epochs: int, counts: Counter[str], best: dict[str, float]) -> Check:
    text = f"best after {epochs} epochs: " + ", ".join(
        f"{family} {value:.4f} ({counts[family]} trials)" for family, value in best.items()
    )
    behind = [f for f, value in best.items() if value < max(best.values()) - FAR_BEHIND]
    share = sum(counts[f] for f in behind) / counts.total()
    if not behind or share <= 0.25:
        return Check(name, "good", text)
    advice = f"{share:.0%} of the trials went to {', '.join(behind)}: drop it from `space.arch`"
    return Check(name, "look", text, advice)


def _best(trials: Iterable[ReportTrial], family: str) -> float:
    return max(t.value or 0.0 for t in trials if t.family == family)


def _baselines(study: Gathered) -> Check | None:
    """Compare the best trial of the search with the best baseline after equally many epochs."""
    # a trial of another program may have no epochs to compare
    best = next((t for t in _searched(study) if t.epochs), None)
    if best is None or best.value is None:
        return None
    early = {t.label: max(t.curve[: best.epochs]) for t in study.complete if t.baseline and t.curve}
    if not early:
        return None
    label = max(early, key=lambda name: early[name])
    gain = best.value - early[label]
    text = (
        f"trial {best.label} is {abs(gain):.4f} {'above' if gain > 0 else 'below'} baseline "
        f"{label} after at most {best.epochs} epochs"
    )
    if gain > 0:
        return Check("baselines", "good", text)
    return Check(
        "baselines",
        "look",
        text,
        "continue the search, or let the space include the baseline's point",
    )


def _listed(numbers: Iterable[int], most: int = 12) -> str:
    """Return the first `most` numbers as text, with a mark where there are more."""
    shown = list(numbers)
    return ", ".join(map(str, shown[:most])) + (", ..." if len(shown) > most else "")
