"""Is the search space right? The checks that a careful person would make by hand after a search."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from ..data.bloodmnist import N_IMAGES
from ..pruning.audit import TOP, audited
from ..records import Ending, stop_reason
from .gather import Gathered, TrialRecord
from .importance import Importance, position

EDGE = 0.05
NEVER_MATTERED = 0.02
MIN_FOR_IMPORTANCE = 20
N_TOP = 5
MIN_FAMILIES = 6
"""Finished trials before anything is said of the families."""

Status = Literal["good", "look", "too few trials"]


@dataclass(frozen=True, slots=True)
class Check:
    """One finding about the search space, and what to change if it is none to be happy with."""

    name: str
    status: Status
    found: str
    advice: str = ""


def checks(study: Gathered, found: Sequence[Importance]) -> list[Check]:
    """All checks in the order of the report; each is answered, if only with "too few trials"."""
    if not study.complete:
        return [Check("trials", "too few trials", "no trial is complete yet", "search on")]
    return [
        _edges(study),
        _never_mattered(found),
        _rising(study),
        _ties(study),
        _endings(study),
        _audit(study),
        _duplicates(study),
        _families(study),
        _baselines(study),
    ]


def _edges(study: Gathered) -> Check:
    """The best searched trial within 5 % of an end of a range, or at an end of a list of numbers."""
    name = "edges of the ranges"
    best = next((t for t in study.complete if t.raw.params), None)
    if best is None:
        return Check(name, "too few trials", "no complete trial has searched parameters")
    near = []
    for parameter, distribution in best.raw.distributions.items():
        value = best.raw.params[parameter]
        if isinstance(distribution, CategoricalDistribution):
            numbers = [c for c in distribution.choices if type(c) in (int, float)]
            if len(numbers) < max(3, len(distribution.choices)):
                continue
        elif isinstance(distribution, IntDistribution | FloatDistribution):
            step = distribution.step or 0
            if distribution.high - distribution.low < 2 * step:
                continue  # of two values each is an end
        where = position(distribution, value)
        if where <= EDGE or where >= 1 - EDGE:
            end = "lower" if where <= EDGE else "upper"
            near.append(f"{parameter} = {_number(value)} at the {end} end")
    if not near:
        return Check(name, "good", f"trial {best.number}: every number lies inside its range")
    return Check(
        name, "look", f"trial {best.number}: {'; '.join(near)}",
        "widen these ranges on that side, unless the end is a natural limit",
    )  # fmt: skip


def _never_mattered(found: Sequence[Importance]) -> Check:
    name = "idle parameters"
    strong = [one for one in found if one.n_trials >= MIN_FOR_IMPORTANCE]
    if not strong:
        n = max((one.n_trials for one in found), default=0)
        return Check(
            name, "too few trials",
            f"{n} complete trials with searched parameters, {MIN_FOR_IMPORTANCE} are needed to say",
        )  # fmt: skip
    largest: dict[str, float] = {}
    for one in strong:
        for parameter, share in one.mean.items():
            largest[parameter] = max(share, largest.get(parameter, 0.0))
    idle = sorted(p for p, share in largest.items() if share < NEVER_MATTERED)
    if not idle:
        return Check(name, "good", f"each explains {NEVER_MATTERED:.0%} or more somewhere")
    return Check(
        name, "look", f"under {NEVER_MATTERED:.0%} of the variance everywhere: {', '.join(idle)}",
        "fix them at the winner's values: the budget then goes to what matters",
    )  # fmt: skip


def _rising(study: Gathered) -> Check:
    top = [t for t in study.complete[:N_TOP] if t.best_epoch is not None]
    name = "curves at the end"
    if not top:
        return Check(name, "too few trials", "no complete trial with a curve")
    rising = [t for t in top if t.best_epoch == t.epochs and t.ending is not Ending.EARLY_STOPPED]
    text = f"{len(rising)} of the top {len(top)} trials were best in their last epoch"
    if len(rising) <= len(top) / 2:
        return Check(name, "good", text)
    annealed = all((t.stored.config or {}).get("schedule") != "constant" for t in rising)
    advice = "try more epochs"
    if annealed:
        advice += " (their learning rate ends at zero, so the last epoch is the best by design)"
    return Check(name, "look", text, advice)


def _ties(study: Gathered) -> Check:
    """How many trials lie within the noise of the finite validation split."""
    name = "ties"
    best = study.complete[0]
    accuracy = best.stored.val_accuracy
    if accuracy is None or len(study.complete) < 2:
        return Check(name, "too few trials", "one complete trial")
    half = 1.96 * math.sqrt(accuracy * (1 - accuracy) / N_IMAGES["val"])
    tied = [t for t in study.complete if (t.value or 0) >= (best.value or 0) - half]
    if len(tied) == 1:
        return Check(name, "good", f"no other trial within {half:.4f} of it")
    first, second = (f"{study.info.name}:{t.number}" for t in tied[:2])
    return Check(
        name, "look",
        f"{len(tied)} trials lie within {half:.4f} of the best, which is the 95 % noise of "
        f"{N_IMAGES['val']:,} validation images: {', '.join(str(t.number) for t in tied[:12])}",
        f"compare them with seeds of their own, e.g. `bloodsearch compare {first} {second} --replicates 3`",
    )  # fmt: skip


def _endings(study: Gathered) -> Check:
    kinds = {  # why a trial was not trained to its end, and what helps
        Ending.DIVERGED: "lower the upper ends of the learning rates",
        Ending.OUT_OF_MEMORY: "lower the upper ends of batch size and widths, or use fewer workers a device",
        Ending.TOO_COSTLY: "narrow widths and depths to what the limits allow",
    }
    counts = {kind: sum(t.ending is kind for t in study.trials) for kind in kinds}
    failed = [t for t in study.trials if t.state == "fail"]
    pruned = [t for t in study.trials if t.state == "pruned"]
    causes = ", ".join(f"{count} {stop_reason(kind, '')}" for kind, count in counts.items())
    text = (
        f"{len(pruned)} of {len(study.finished)} finished trials pruned, of them {causes}; "
        f"{len(failed)} failed"
    )
    if failed:
        advice = f"bloodsearch show {failed[0].number} --name {study.info.name} has the traceback"
        return Check("endings", "look", text, advice)
    often = [
        advice for kind, advice in kinds.items() if counts[kind] > 0.1 * max(1, len(study.finished))
    ]
    if often:
        return Check("endings", "look", text, "; ".join(often))
    return Check("endings", "good", text)


def _audit(study: Gathered) -> Check:
    """Trials that ran to their end although the pruner would have stopped them."""
    name = "pruner's audit"
    found = audited([trial.raw for trial in study.complete])
    if not found["n"]:
        return Check(name, "too few trials", "the pruner would have stopped no audited trial yet")
    text = (
        f"{found['n']} trials ran on although the pruner would have stopped them; "
        f"{found['mattered']} of them are among the best {TOP}"
    )
    if found["mattered"]:
        advice = (
            "let the pruner wait: raise pruner.warmup_epochs, or lower pruner.chance or quantile"
        )
        return Check(name, "look", text, advice)
    return Check(name, "good", text)


def _duplicates(study: Gathered) -> Check:
    searched = [t for t in study.finished if t.raw.params]
    counts = Counter(repr(sorted(t.params.items())) for t in searched if t.seed is not None)
    twice = sum(n - 1 for n in counts.values())
    if twice > 0.1 * max(1, len(searched)):
        return Check(
            "duplicates", "look", f"{twice} of {len(searched)} trials repeat another's parameters",
            "the space is nearly exhausted: widen it or stop",
        )  # fmt: skip
    return Check("duplicates", "good", f"{twice} trials repeat another's parameters")


def _families(study: Gathered) -> Check:
    best: dict[str, TrialRecord] = {}
    for trial in study.complete:
        best.setdefault(trial.family, trial)
    counts = Counter(t.family for t in study.finished)
    if len(counts) < 2:
        return Check("families", "good", f"one family: {', '.join(counts)}")
    if len(study.finished) < MIN_FAMILIES:
        text = f"{len(study.finished)} finished trials, {MIN_FAMILIES} are needed to say"
        return Check("families", "too few trials", text)
    parts = [
        f"{family}: {counts[family]} trials, best {_value(best.get(family))}" for family in counts
    ]
    values = sorted((t.value or 0.0 for t in best.values()), reverse=True)
    behind = [f for f in counts if f not in best or (best[f].value or 0) < values[0] - 0.03]
    share = sum(counts[f] for f in behind) / sum(counts.values())
    text = "; ".join(parts)
    if behind and share > 0.25:
        return Check(
            "families", "look", text,
            f"{share:.0%} of the trials went to {', '.join(behind)}, far behind: drop it from `arch`",
        )  # fmt: skip
    return Check("families", "good", text)


def _baselines(study: Gathered) -> Check:
    known = [t for t in study.complete if t.baseline]
    searched = [t for t in study.complete if not t.baseline]
    if not known or not searched:
        return Check("baselines", "too few trials", "none of one kind is complete")
    gain = (searched[0].value or 0) - (known[0].value or 0)
    text = f"best searched trial {gain:+.4f} against {known[0].baseline} ({_value(known[0])})"
    if gain > 0:
        return Check("baselines", "good", text)
    return Check("baselines", "look", text, "search on, or rethink the space")


def _value(trial: TrialRecord | None) -> str:
    return "none complete" if trial is None else f"{trial.value:.4f}"


def _number(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
