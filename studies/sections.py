"""The tables of a study file: their keys, types, bounds and defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticUndefined

from ..models.fields import Count, Epochs, Fraction, Frozen, InnerFraction, Patience
from .parameters import Value

MAX_TRIALS = 1_000_000
NUMBER, TABLE = "one number", "by family"
ByFamily = Annotated[
    Annotated[Epochs, Tag(NUMBER)] | Annotated[dict[str, Epochs], Tag(TABLE)],
    Discriminator(lambda value: TABLE if isinstance(value, dict) else NUMBER),
]
"""A number of epochs for all families, or a table with one for each: { cnn = 5, mlp = 10 }."""


def of_family(epochs: int | dict[str, int], family: Value) -> int:
    """Return the number of epochs of a family.

    A table has every family that its study can train. For a trial of another program, whose family the
    table may lack, the largest entry is returned.
    """
    if isinstance(epochs, int):
        return epochs
    return epochs.get(str(family), max(epochs.values()))


class Section(Frozen, strict=True):
    """A table of the study file."""


class SectionWithFamilies(Section):
    """A table some of whose keys may hold a table by family."""

    @model_validator(mode="before")
    @classmethod
    def _merge_mlp_keys(cls, data: Any) -> Any:
        """Read the older spelling: `epochs = 5` with `mlp_epochs = 10` is { cnn = 5, mlp = 10 }."""
        if not isinstance(data, dict):
            return data
        merged = dict(data)
        for name in BY_FAMILY & set(cls.model_fields):
            mlp = merged.pop(f"mlp_{name}", None)
            others = merged.get(name, cls.model_fields[name].get_default())
            if mlp is None or others is PydanticUndefined:
                continue
            table = others if isinstance(others, dict) else {"cnn": others}
            merged[name] = table | {"mlp": mlp}
        return merged


BY_FAMILY = {"epochs", "final_epochs", "warmup_epochs"}
"""The keys that may hold a table by family."""


class Search(Section):
    sampler: Literal["tpe", "random", "grid", "baselines"] = "tpe"
    """tpe: Optuna's grouped TPE; grid: every point of a space of lists; baselines: only the baselines."""
    startup_trials: Count = 16
    """TPE begins after this many trials. Baselines count too, running trials do not."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed of the sampler and of every trial. The same seed draws and trains the same trials."""
    folds: Annotated[int, Field(ge=0, le=20)] | None = None
    """Judge each trial by cross-validation in this many stratified folds of the training and validation
    splits; 0: by the validation split. Not given: 5 where that has fewer than 500 images, else 0."""
    trials: Annotated[int, Field(ge=1, le=MAX_TRIALS)] | None = None
    """Finished trials to reach if --trials is not given; not part of the study's identity."""
    max_params: Annotated[int, Field(ge=1)] | None = None
    """Larger models are not searched."""
    max_latency_ms: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Models that take longer per image, on one core of the worker's CPU, are not trained."""


class Training(SectionWithFamilies):
    epochs: ByFamily
    """Epochs of a trial. An MLP's epoch costs a fraction of a CNN's, and an MLP needs more of them."""
    final_epochs: ByFamily
    """Epochs of the final evaluation's trainings."""
    patience: Patience = 0
    """Early stopping after this many epochs without a better validation macro-F1; 0 = off."""
    final_patience: Patience = 0
    """The same for the final evaluation's trainings."""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """CPU threads per training. Their number decides the last bits of the results, so it is part of the
    study's identity. Small models gain more from more workers."""
    min_epochs: Patience = 0
    """Early stopping is off before this epoch. Applies to search trials only."""
    cuda_graph: bool = False
    """Replay a captured training step on a CUDA device. It was never run on one, so it is off."""

    def epochs_of(self, family: Value) -> int:
        """Return the epochs of a search trial of this family."""
        return of_family(self.epochs, family)

    def final_epochs_of(self, family: Value) -> int:
        """Return the epochs of a final training of this family."""
        return of_family(self.final_epochs, family)


class Pruner(SectionWithFamilies):
    name: Literal["family", "forecast", "none"] = "family"
    """family: compare with a quantile of the family's trials at the same epoch; forecast: predict the
    final value from the family's complete trials."""
    warmup_epochs: ByFamily = 4
    """No trial is pruned before it has finished this many epochs."""
    min_peers: Count = 4
    """Finished trials of the same family needed for a comparison."""
    quantile: InnerFraction = 0.5
    """family: a trial whose best epoch so far is below this quantile of its peers' is pruned."""
    chance: InnerFraction = 0.05
    """forecast: a trial that is less likely than this to end among the best, by the model's own reckoning, is
    pruned. The chance that a CNN's trial states is corrected by what came true on recorded curves."""
    top: Annotated[float, Field(gt=0, le=1)] = 0.1
    """forecast: this share of all finished trials are the best."""
    audit: Fraction = 0.05
    """Share of trials that are never pruned. They show which good trials the pruner would have missed."""

    def warmup_of(self, family: Value) -> int:
        """Return the epochs before a trial of this family may be pruned."""
        return of_family(self.warmup_epochs, family)


class Rung(Section):
    epochs: ByFamily
    """Epochs of a training of this rung, each a complete schedule."""
    trials: Count
    """Configurations that this rung trains: the best of the rung below."""

    def epochs_of(self, family: Value) -> int:
        """Return the epochs of a training of this family."""
        return of_family(self.epochs, family)


class Ladder(Section):
    rungs: tuple[Rung, ...] = ()
    """Rungs between the search, which is the first one, and the final trainings, which are the last."""
    finalists: Count = 4
    """Configurations that reach the final length. The worse half leaves after each seed."""
    keep: tuple[str, ...] = ()
    """Baselines that reach the final length whatever their shorter trainings say, in place of the worst."""
    params: dict[str, Value] = Field(default_factory=dict)
    """Values of parameters that the space leaves out, for all trainings above the search: what pays only in a
    long training. Baselines have them only if `keep` names them."""


class Range(Section):
    low: float | int
    """The lowest value."""
    high: float | int
    """The highest value."""
    log: bool = False
    """Draw on a logarithmic scale."""
    step: float | int | None = None
    """Draw only low, low + step, low + 2 step, and so on. Excludes `log`."""


class Baseline(Section):
    name: Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[A-Za-z0-9][\w.-]*$")]
    """The configuration's name in tables, reports and `compare`."""
    params: dict[str, Value]
    """Values of parameters. A parameter that is not named has its default."""
    published: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict)
    """Published figures by metric name, e.g. {macro_f1 = 0.938}."""


Entry = Range | tuple[Value, ...] | Value
"""A range, a list of choices, or one fixed value."""


class Minutes(Section):
    space: dict[str, Entry] = Field(default_factory=dict)
    """Entries of the space that a search with --minutes has instead of the study's own, but not of those that
    --set gives."""
    baselines: tuple[Baseline, ...] = ()
    """Recipes that a search with --minutes tries first, instead of the study's own baselines. Those of CNNs,
    or of MLPs where these alone are searched, reach the final length, with one place left for the search's
    best. A width or depth that a recipe leaves out is the space's largest, and so are its orientations."""
    cnn_widths: tuple[Annotated[int, Field(ge=1, le=1024)], ...] = (16, 24, 32, 48, 64)
    """Filters of the first block, one of which is chosen by the speed measured."""
