"""Describe a grid's points in words, under each stop rule, and measure the effect of each choice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...studies import PARAMETERS
from ..report.gather import Gathered, ReportTrial
from .stop_rules import RULES, Rule, Stop, stop

EARLY = RULES[-1]
STOP = "stop rule"
RATES = ("optimizer", "learning rate")
RATED = "optimizer and learning rate"
"""Both at once, because a rate is small or large only for an optimizer."""
WORDS = {
    "adam": "Adam",
    "adamw": "AdamW",
    "sgd": "SGD",
    "cross_entropy": "plain",
    "weighted_cross_entropy": "weighted",
}
TOLD = {"arch", "optimizer", "lr", "sgd_lr", "loss", "batch_size", "mlp_depth", "mlp_width"} | {
    "cnn_blocks",
    "cnn_width",
    "cnn_growth",
}
"""Parameters that `levels` puts into words."""


@dataclass(frozen=True, slots=True)
class Point:
    """A trained point: its level of each choice, and its result under each stop rule."""

    trial: ReportTrial
    levels: dict[str, str]
    stops: dict[Rule, Stop]

    @property
    def family(self) -> str:
        return self.trial.family


@dataclass(frozen=True, slots=True)
class Effect:
    """One level of one choice in one family; `values` are those of its points."""

    family: str
    choice: str
    level: str
    values: list[float]
    against: str | None
    """The report's level; None if this is it, or if the grid does not have it."""
    differences: list[float]
    """This level minus the report's, of pairs of points that differ in this choice alone."""


def levels(params: Mapping[str, Any], searched: Iterable[str] = ()) -> dict[str, str]:
    """Return a point's choices in words; `searched` names the parameters that its grid varies."""

    def get(name: str) -> Any:
        return params.get(name, PARAMETERS[name].default)

    if get("arch") == "mlp":
        size = f"{get('mlp_depth')} x {get('mlp_width')}"
    else:
        filters = (get("cnn_width") * get("cnn_growth") ** i for i in range(get("cnn_blocks")))
        size = "-".join(str(round(n)) for n in filters)
    return {
        "optimizer": WORDS.get(get("optimizer"), get("optimizer")),
        "learning rate": f"{get('sgd_lr' if get('optimizer') == 'sgd' else 'lr'):g}",
        "loss": WORDS.get(get("loss"), get("loss")),
        "batch size": str(get("batch_size")),
        "size": size,
        **{name: str(get(name)) for name in searched if name not in TOLD},
    }


def points(grid: Gathered) -> list[Point]:
    """Return all complete points in the order of the grid. Trials of other programs are left out."""
    complete = []
    own = [t for t in grid.complete if not t.foreign]
    for trial in sorted(own, key=lambda t: t.number):
        stops = {rule: kept for rule in RULES if (kept := stop(trial.curve, rule)) is not None}
        if EARLY in stops:
            complete.append(Point(trial, levels(trial.params, trial.record.sampled), stops))
    return complete


def effects(trained: Sequence[Point], report: Mapping[str, Mapping[str, str]]) -> list[Effect]:
    """Return every level of every choice in which a family's points differ, with patience as the stop rule.

    `report` holds the report's own levels by family; STOP is a choice like the others.
    """
    result = []
    for family in dict.fromkeys(p.family for p in trained):
        members = [p for p in trained if p.family == family]
        own = {**report.get(family, {}), STOP: str(EARLY)}
        own[RATED] = _rated(own)
        values = {tuple(p.levels.items()): p.stops[EARLY].value for p in members}
        for choice in members[0].levels:
            result += _levels(family, choice, values, own)
        if set(RATES) <= {e.choice for e in result if e.family == family}:
            both = {
                (*(pair for pair in key if pair[0] not in RATES), (RATED, _rated(dict(key)))): value
                for key, value in values.items()
            }
            result += _levels(family, RATED, both, own)
        stopped = {
            (*p.levels.items(), (STOP, str(rule))): kept.value
            for p in members
            for rule, kept in p.stops.items()
        }
        result += _levels(family, STOP, stopped, own)
    return result


def _rated(own: Mapping[str, str]) -> str:
    return f"{own.get('optimizer')} {own.get('learning rate')}"


Key = tuple[tuple[str, str], ...]
"""A point as its choices with their levels."""


def _levels(
    family: str, choice: str, values: Mapping[Key, float], own: Mapping[str, str]
) -> list[Effect]:
    names = list(dict.fromkeys(dict(key)[choice] for key in values))
    if len(names) < 2:
        return []
    result = []
    for level in names:
        at_level = {key: value for key, value in values.items() if dict(key)[choice] == level}
        reported = own.get(choice)
        against = reported if reported in names and reported != level else None
        differences = []
        if against is not None:
            for key, value in at_level.items():
                twin = tuple((c, against if c == choice else v) for c, v in key)
                if twin in values:
                    differences.append(value - values[twin])
        result.append(Effect(family, choice, level, list(at_level.values()), against, differences))
    return result
