"""Names of a study's parts, made and taken apart in one place.

NAME-DATASET                          the default name of a search on another data set, such as NAME-synthetic
NAME-finalists                        trainings of the second stage
NAME-rung-N                           trainings of the ladder's rung N, from 2
NAME-finals                           the ladder's last rung, which holds the winner's replicates
NAME-final-TRIAL                      replicates of the winner
NAME-final-TRIAL-train-val[-EPOCHS]   the winner trained on train and validation together
NAME-baselines  NAME-grid             parts of a study that run separately
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from .errors import UsageError

PartKind = Literal["finalists", "rung", "finals", "replicates", "refits", "baselines", "grid"]

_BASELINES = "-baselines"
_GRID = "-grid"
_FINALISTS = "-finalists"
_FINALS = "-finals"
_RUNG = re.compile(r"(?P<base>.+)-rung-\d+")
_REPLICATES = re.compile(r"-final-(?P<trial>-?\d+)")
_REFITS = re.compile(r"-final-(?P<trial>-?\d+)-train-val(-(?P<epochs>\d+))?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class Part(NamedTuple):
    """A part's name, taken apart."""

    base: str
    """The name of the study that the part belongs to."""
    kind: PartKind
    trial: int | None = None
    """The winner's number; only replicates and refits have one."""
    epochs: int | None = None
    """Epochs of a refit, where they are part of its name."""


def is_valid(name: str) -> bool:
    """Return whether `name` can be a search's name and a folder's."""
    return _NAME.fullmatch(name) is not None


def dataset_slug(dataset: str) -> str:
    """Return a data set's name or path as part of a study's name: "pathmnist-64", "cells"."""
    name = dataset.rpartition("/")[2].removesuffix(".npz")
    slug = re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-._")[:60]
    return slug or "data"


def default_name(study_name: str, dataset: str | None) -> str:
    """Return the name of a search of the study file `study_name` without --name.

    `dataset` is None where it is the one that the study file is for.
    """
    return study_name if dataset is None else f"{study_name}-{dataset_slug(dataset)}"


def finalists_name(name: str) -> str:
    """Return the name of the study that holds a search's second stage."""
    return name + _FINALISTS


def rung_name(name: str, number: int) -> str:
    """Return the name of the study that holds rung `number` of a search's ladder; the search is rung 1."""
    return f"{name}-rung-{number}"


def finals_name(name: str) -> str:
    """Return the name of the study that holds the last rung of a search's ladder."""
    return name + _FINALS


def replicates_name(name: str, trial: int) -> str:
    """Return the name of the study that holds the replicates of a search's trial."""
    return f"{name}-final-{trial}"


def refits_name(name: str, trial: int, epochs: int | None = None) -> str:
    """Return the name of the study that holds the refits of a trial, for `epochs` if they may vary."""
    suffix = "" if epochs is None else f"-{epochs}"
    return f"{replicates_name(name, trial)}-train-val{suffix}"


def baselines_name(name: str) -> str:
    """Return the name of the study that holds the replicates of all baselines."""
    return name + _BASELINES


def grid_name(name: str) -> str:
    """Return the name of the study that holds a study file's grid."""
    return name + _GRID


def take_apart(name: str) -> Part | None:
    """Return the part that `name` is the name of, None for a name that no part of a study can have."""
    for kind, pattern in (("refits", _REFITS), ("replicates", _REPLICATES)):
        match = re.fullmatch(f"(?P<base>.+){pattern.pattern}", name)
        if match:
            epochs = match.groupdict().get("epochs")
            return Part(
                match["base"],
                "refits" if kind == "refits" else "replicates",
                int(match["trial"]),
                None if epochs is None else int(epochs),
            )
    if match := _RUNG.fullmatch(name):
        return Part(match["base"], "rung")
    suffixes: tuple[tuple[str, PartKind], ...] = (
        (_FINALISTS, "finalists"),
        (_FINALS, "finals"),
        (_BASELINES, "baselines"),
        (_GRID, "grid"),
    )
    for suffix, kind in suffixes:
        if name.endswith(suffix) and name != suffix:
            return Part(name.removesuffix(suffix), kind)
    return None


def is_reserved(name: str) -> bool:
    """Return whether `name` ends as the name of a study's part does: no search may be called so."""
    return take_apart(name) is not None


def without_part(name: str) -> str:
    """Return the name of the study that `name` is a part of, or `name` itself."""
    part = take_apart(name)
    return name if part is None else part.base


def check_name(name: str) -> None:
    """Raise UsageError unless `name` can be the name of a study and of a folder."""
    if not is_valid(name):
        raise UsageError(
            f"invalid study name {name[:60]!r}: use letters, digits, '.', '_' and '-'; at most 100, "
            "starting with a letter or digit"
        )


def check_not_reserved(name: str) -> None:
    """Raise UsageError if `name` ends as the names of a study's parts do."""
    if is_reserved(name):
        raise UsageError(
            f"the name {name!r} is reserved for a part of the study {without_part(name)!r}; "
            "choose a --name that does not end in -finalists, -finals, -final-N, -rung-N, -baselines or -grid"
        )
