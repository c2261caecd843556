"""The study file: what to search, typed and checked. `studies.parsing` makes one of a decoded file."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .parameters import PARAMETERS, Value, shown

MAX_CHOICES = 1000
MAX_GRID = 100_000
MAX_FILTERS = 8192


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Search(Section):
    sampler: Literal["tpe", "random", "grid", "baselines"] = "tpe"
    """tpe: Optuna's TPE, grouped; grid: every point of a space of lists; baselines: only those."""
    startup_trials: Annotated[int, Field(ge=1, le=10_000)] = 16
    """Random trials before TPE begins."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    trials: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Finished trials to reach when --trials is not given; not part of the study's identity."""
    max_params: Annotated[int, Field(ge=1)] | None = None
    """Larger models are not searched."""
    max_latency_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Models that take longer for one image, on one core of the worker's CPU, are not trained."""


class Training(Section):
    epochs: Annotated[int, Field(ge=1, le=10_000)]
    final_epochs: Annotated[int, Field(ge=1, le=10_000)]
    """Epochs of the final evaluation's trainings."""
    patience: Annotated[int, Field(ge=0, le=10_000)] = 0
    final_patience: Annotated[int, Field(ge=0, le=10_000)] = 0
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """CPU threads of one training: their number decides the last bits of its results, so that it belongs
    to the study and not to whoever trains. Small models gain more from more workers."""
    min_epochs: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Patience ends no training of the search before this epoch; final trainings know none."""
    mlp_epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """`epochs` of an MLP, where they differ: one costs a fraction of a CNN's, and it needs more of them."""
    mlp_final_epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """`final_epochs` of an MLP, where they differ."""

    def epochs_of(self, arch: Value) -> int:
        """Epochs of a trial of this family."""
        return (self.mlp_epochs if arch == "mlp" else None) or self.epochs

    def final_epochs_of(self, arch: Value) -> int:
        """Epochs of the final evaluation's trainings of this family."""
        return (self.mlp_final_epochs if arch == "mlp" else None) or self.final_epochs


class Pruner(Section):
    name: Literal["family", "forecast", "none"] = "family"
    """family: by a quantile of the family's trials at the same epoch; forecast: by how these went on."""
    warmup_epochs: Annotated[int, Field(ge=1, le=10_000)] = 4
    """No trial is pruned before it has finished this many epochs."""
    mlp_warmup_epochs: Annotated[int, Field(ge=1, le=10_000)] | None = None
    """The same for an MLP, where it differs."""
    min_peers: Annotated[int, Field(ge=1, le=10_000)] = 4
    """Finished trials of the same family needed for a comparison."""
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """family: a trial whose best epoch so far is below this quantile of its peers' is pruned."""
    chance: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """forecast: a trial that is less likely than this to end among the best is pruned."""
    top: Annotated[float, Field(gt=0, le=1)] = 0.1
    """forecast: this share of all finished trials are the best."""
    audit: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of trials that are exempt from pruning, to see what the pruner misses."""

    def warmup_of(self, family: str) -> int:
        """Epochs before a trial of this family may be pruned."""
        return (self.mlp_warmup_epochs if family == "mlp" else None) or self.warmup_epochs


class Range(Section):
    low: float | int
    high: float | int
    log: bool = False
    step: float | int | None = None


class Baseline(Section):
    name: Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9][\w.-]*$")]
    params: dict[str, Value]
    published: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict)
    """What the report says it reached, by metric name, e.g. {macro_f1 = 0.938}."""


Entry = Range | tuple[Value, ...] | Value
"""A range, a list of choices, or one fixed value."""


class StudyFile(Section):
    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][\w.-]*$")]
    description: str = ""
    search: Search = Field(default_factory=Search)
    training: Training
    pruner: Pruner = Field(default_factory=Pruner)
    space: dict[str, Entry] = Field(default_factory=dict)
    baselines: tuple[Baseline, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, entry in self.space.items():
            _check_entry(name, entry)
        names = [baseline.name for baseline in self.baselines]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"baselines: the name {name!r} occurs twice")
        for baseline in self.baselines:
            for name, value in baseline.params.items():
                _check_value(f"baselines.{baseline.name}.params.{name}", name, value)
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
        if self.pruner.name == "forecast" and "epochs" in self.space:
            raise ValueError(
                "space.epochs: the forecast compares trainings of one length; give training.epochs "
                'instead, or pruner.name = "family"'
            )
        return self

    def _check_filters(self) -> None:
        """The widest CNN of the space must be one: no single parameter's bounds can tell."""
        width, growth, blocks = (
            _largest(name, self.space) for name in ("cnn_width", "cnn_growth", "cnn_blocks")
        )
        filters = width * growth ** (blocks - 1)
        if filters > MAX_FILTERS:
            raise ValueError(
                f"space.cnn_width: with cnn_growth and cnn_blocks, up to {filters:.0f} filters "
                f"in the last block; at most {MAX_FILTERS}"
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

    def identity(self) -> dict[str, Any]:
        """All that makes two studies comparable: everything but the description and the budget."""
        data = self.model_dump(mode="json", exclude={"description", "name"})
        data["search"].pop("trials")
        for section, keys in _ADDED_LATER.items():
            for key in keys:
                if data[section][key] == SECTIONS[section].model_fields[key].default:
                    data[section].pop(key)
        return data

    def space_hash(self) -> str:
        """Sixteen hexadecimal digits over `identity`."""
        canonical = json.dumps(self.identity(), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def grid_size(self) -> int:
        """Points of the space if every entry is a list, conditions not counted."""
        return math.prod(len(_values(entry)) for entry in self.space.values())


SECTIONS: dict[str, type[Section]] = {
    "search": Search,
    "training": Training,
    "pruner": Pruner,
    "space": Range,
    "baselines": Baseline,
}
_ADDED_LATER = {
    "training": ("min_epochs", "mlp_epochs", "mlp_final_epochs", "threads"),
    "pruner": ("mlp_warmup_epochs", "chance", "top"),
}
"""Keys that the first study files did not know: the hash of a file that does without stays what it was."""


def _values(entry: Entry) -> tuple[Value, ...]:
    if isinstance(entry, Range):
        return ()
    return entry if isinstance(entry, tuple) else (entry,)


def _largest(name: str, space: dict[str, Entry]) -> float:
    entry = space.get(name, PARAMETERS[name].default)
    if isinstance(entry, Range):
        return entry.high
    return max(float(value) for value in _values(entry or ()))


def _check_entry(name: str, entry: Entry) -> None:
    if name not in PARAMETERS:
        raise ValueError(f"space.{name[:60]}: no such parameter; known: {', '.join(PARAMETERS)}")
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


def _check_value(where: str, name: str, value: Value) -> None:
    if name not in PARAMETERS:
        raise ValueError(f"{where[:200]}: no such parameter; known: {', '.join(PARAMETERS)}")
    problem = PARAMETERS[name].problem(value)
    if problem:
        raise ValueError(f"{where}: {problem}")
