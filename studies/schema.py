"""The schema of a study file. `studies.parsing` checks a decoded file against it."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from ..models.fields import MAX_WIDTH
from .parameters import PARAMETERS, Value, shown
from .sections import (
    BY_FAMILY,
    Baseline,
    Entry,
    Ladder,
    Minutes,
    Pruner,
    Range,
    Rung,
    Search,
    Section,
    Training,
)
from .spelling import did_you_mean

MAX_CHOICES = 1000
MAX_GRID = 100_000


class StudyFile(Section):
    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][\w.-]*$")]
    """The study's name in the storage, unless --name gives another."""
    description: str = ""
    """One line for `bloodsearch studies`."""
    dataset: Annotated[str, Field(min_length=1, max_length=1000)] | None = None
    """The data set, if --dataset names no other. Not part of the study's identity: its content hash is."""
    search: Search = Field(default_factory=Search)
    training: Training
    pruner: Pruner = Field(default_factory=Pruner)
    ladder: Ladder | None = None
    """How the best trials go on to longer trainings; without it they are repeated at their own length."""
    minutes: Minutes | None = None
    """What `optimize --minutes` changes before it fits the study to the machine."""
    space: dict[str, Entry] = Field(default_factory=dict)
    baselines: tuple[Baseline, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        entries = [*self.space.items(), *(self.minutes.space.items() if self.minutes else ())]
        for name, entry in entries:
            _check_entry(name, entry)
        names = [baseline.name for baseline in self.baselines]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"baselines: the name {name!r} occurs twice")
        for baseline in self.baselines:
            for name, value in baseline.params.items():
                _check_value(f"baselines.{baseline.name}.params.{name}", name, value)
        for section in (self.training, self.pruner):
            for key, value in section:
                if isinstance(value, dict):
                    self._check_families(f"{_name(section)}.{key}", value)
        self._check_ladder()
        if self.search.sampler == "baselines":
            if not self.baselines:
                raise ValueError('search.sampler: "baselines" needs at least one [[baselines]]')
        else:
            self._check_required()
        if self.search.sampler == "grid":
            for name, entry in self.space.items():
                if isinstance(entry, Range):
                    raise ValueError(f"space.{name}: a grid needs a list of values, not a range")
            if self.grid_size() > MAX_GRID:
                raise ValueError(f"space: a grid of {self.grid_size()} points; at most {MAX_GRID}")
        self._check_filters()
        if self.search.folds == 1:
            raise ValueError("search.folds: one fold leaves no image to train on; 0, or 2 to 20")
        if self.pruner.name == "forecast" and "epochs" in self.space:
            raise ValueError(
                "space.epochs: the forecast compares trainings of one length; give training.epochs "
                'instead, or pruner.name = "family"'
            )
        return self

    def families(self) -> list[str]:
        """Return the families that this study can train: of its space and of its baselines."""
        trained = [*_values(self.space.get("arch", ()))]
        trained += [
            baseline.params["arch"] for baseline in self.baselines if "arch" in baseline.params
        ]
        return [str(family) for family in PARAMETERS["arch"].choices if family in trained]

    def _check_ladder(self) -> None:
        """Check the rungs' families, and that no rung trains more configurations than the one below it."""
        rungs = () if self.ladder is None else self.ladder.rungs
        for i, rung in enumerate(rungs):
            if isinstance(rung.epochs, dict):
                self._check_families(f"ladder.rungs.{i}.epochs", rung.epochs)
        if self.ladder is not None:
            for name, value in self.ladder.params.items():
                _check_value(f"ladder.params.{name}", name, value)
            trials = [*(rung.trials for rung in rungs), self.ladder.finalists]
            if trials != sorted(trials, reverse=True):
                raise ValueError(
                    "ladder: no rung may train more trials than the one below it; "
                    f"got {', '.join(map(str, trials))}"
                )

    def rungs(self) -> tuple[Rung, ...]:
        """Return the ladder's rungs between the search and the final trainings, in their order.

        Those that are not between their lengths are left out: `--epochs 40` makes a rung of 15 pointless.
        """
        rungs = () if self.ladder is None else self.ladder.rungs
        training, families = self.training, self.families()
        return tuple(
            rung
            for rung in rungs
            if any(
                training.epochs_of(f) < rung.epochs_of(f) < training.final_epochs_of(f)
                for f in families
            )
        )

    def long_params(self) -> dict[str, Value]:
        """Return what trainings above the search have: the ladder's parameters that the space leaves out."""
        params = {} if self.ladder is None else self.ladder.params
        return {name: value for name, value in params.items() if name not in self.space}

    def _check_families(self, where: str, table: dict[str, int]) -> None:
        choices = PARAMETERS["arch"].choices
        for family in table:
            if family not in choices:
                raise ValueError(
                    f"{where}.{family[:60]}: no such family; known: {', '.join(map(str, choices))}"
                )
        for family in self.families():
            if family not in table:
                raise ValueError(f"{where}.{family}: missing; the study trains this family too")

    def _check_filters(self) -> None:
        """Check the last block of the widest CNN: it depends on three parameters together."""
        width, growth, blocks = (
            _largest(name, self.space) for name in ("cnn_width", "cnn_growth", "cnn_blocks")
        )
        filters = width * growth ** (blocks - 1)
        if filters > MAX_WIDTH:
            raise ValueError(
                f"space.cnn_width: with cnn_growth and cnn_blocks, up to {filters:.0f} filters "
                f"in the last block; at most {MAX_WIDTH}"
            )

    def _check_required(self) -> None:
        needed = {"arch", "optimizer"}
        optimizers = _values(self.space.get("optimizer", ()))
        if "sgd" in optimizers:
            needed.add("sgd_lr")
        if {"adam", "adamw", "muon"} & set(optimizers):
            needed.add("lr")
        for name in sorted(needed):
            if name not in self.space:
                raise ValueError(f"space.{name}: missing; it takes {PARAMETERS[name].allowed()}")

    def settings(self) -> dict[str, Any]:
        """Return all that makes two searches comparable.

        Name, description, budget and data set do not, nor the ladder, which says how the search's best go on.
        """
        excluded = {"description", "name", "dataset", "ladder", "minutes"}
        data = self.model_dump(mode="json", exclude=excluded)
        data["search"].pop("trials")
        return data

    def identity(self) -> dict[str, Any]:
        """Return `settings` in the form that is hashed, which later versions must not change."""
        data = self.settings()
        for section in ("training", "pruner"):
            for key in BY_FAMILY & set(data[section]):
                table = data[section][key]
                if isinstance(table, dict) and set(table) == {"cnn", "mlp"}:
                    data[section] |= {key: table["cnn"], f"mlp_{key}": table["mlp"]}
        for section, keys in _ADDED_LATER.items():
            for key in keys:
                if data[section][key] == SECTIONS[section].model_fields[key].default:
                    data[section].pop(key)
        return data

    def space_hash(self) -> str:
        """Return sixteen hexadecimal digits over `identity`."""
        return _hash(self.identity())

    def fitted_hash(self) -> str:
        """Return sixteen hexadecimal digits over `identity` and what else `optimize --minutes` reads."""
        more = self.model_dump(mode="json", include={"ladder", "minutes"})
        return _hash(self.identity() | more)

    def largest(self, name: str) -> float:
        """Return the largest value that the space has for a numeric parameter."""
        return _largest(name, self.space)

    def least(self, name: str) -> float:
        """Return the least value that the space has for a numeric parameter."""
        entry = self.space.get(name, PARAMETERS[name].default)
        if isinstance(entry, Range):
            return entry.low
        return min(float(value) for value in _values(() if entry is None else entry))

    def grid_size(self) -> int:
        """Return the number of points of a space of lists, before conditions remove any."""
        return math.prod(len(_values(entry)) for entry in self.space.values())


SECTIONS: dict[str, type[Section]] = {
    "search": Search,
    "training": Training,
    "pruner": Pruner,
    "ladder": Ladder,
    "rung": Rung,
    "minutes": Minutes,
    "space": Range,
    "baselines": Baseline,
}
_ADDED_LATER = {
    "search": ("folds",),
    "training": ("min_epochs", "threads", "cuda_graph"),
    "pruner": ("chance", "top"),
}
"""Keys that the first study files did not have. The default value is not hashed, so their hashes stay."""


def _hash(data: dict[str, Any]) -> str:
    canonical = json.dumps(data, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _name(section: Section) -> str:
    return type(section).__name__.lower()


def _values(entry: Entry) -> tuple[Value, ...]:
    if isinstance(entry, Range):
        return ()
    return entry if isinstance(entry, tuple) else (entry,)


def _largest(name: str, space: dict[str, Entry]) -> float:
    entry = space.get(name, PARAMETERS[name].default)
    if isinstance(entry, Range):
        return entry.high
    return max(float(value) for value in _values(() if entry is None else entry))


def _check_entry(name: str, entry: Entry) -> None:
    if name not in PARAMETERS:
        raise ValueError(f"space.{name[:60]}: {_no_such_parameter(name)}")
    if not isinstance(entry, Range):
        values = _values(entry)
        if not values:
            raise ValueError(f"space.{name}: an empty list; give at least one value")
        if len(values) > MAX_CHOICES:
            raise ValueError(f"space.{name}: {len(values)} choices; at most {MAX_CHOICES}")
        for value in values:
            _check_value(f"space.{name}", name, value)
        if len(set(values)) < len(values):  # now that all are of one kind: 1 and 1.0 are the same
            raise ValueError(f"space.{name}: a value occurs twice")
        return
    parameter = PARAMETERS[name]
    if parameter.kind not in (int, float) or parameter.choices:
        raise ValueError(f"space.{name}: takes {parameter.allowed()}, not a range")
    for value in (entry.low, entry.high):
        _check_value(f"space.{name}", name, value)
    if not entry.low < entry.high:
        raise ValueError(f"space.{name}: low {entry.low:g} must be below high {entry.high:g}")
    if entry.log and entry.low <= 0:
        raise ValueError(f"space.{name}: log = true needs low above 0, got {entry.low:g}")
    if entry.step is not None:
        if entry.log:
            raise ValueError(f"space.{name}: step and log = true exclude each other")
        if parameter.kind is int and type(entry.step) is not int:
            raise ValueError(f"space.{name}: step {shown(entry.step)} is not an integer")
        if not 0 < entry.step <= entry.high - entry.low:
            raise ValueError(
                f"space.{name}: step {shown(entry.step)} must be above 0 and fit the range"
            )


def _no_such_parameter(name: str) -> str:
    hint = did_you_mean(name[:60], PARAMETERS)
    return f"no such parameter{hint}; known: {', '.join(PARAMETERS)}"


def _check_value(where: str, name: str, value: Value) -> None:
    if name not in PARAMETERS:
        raise ValueError(f"{where[:200]}: {_no_such_parameter(name)}")
    problem = PARAMETERS[name].problem(value)
    if problem:
        raise ValueError(f"{where}: {problem}")
