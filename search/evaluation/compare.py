"""Two configurations, each with its replicates: which is better, and can it be told?

A side is named as a person would: `bloodmnist` (a study: its winner), `11` or `bloodmnist:11` (a
trial), `A-cnn` or `bloodmnist:A-cnn` (a baseline).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial, TrialState

from ..database.storage import Storage
from ..errors import RefusedError, StorageError, UsageError
from ..records import has_diverged, study_record, trial_record
from ..study import info, load
from ..study_names import baselines_name
from . import ledger
from .baselines import latest_result
from .intervals import Difference, difference
from .selection import choose_winner, replicate_study, replicates_home, trials_of

Split = Literal["val", "test"]


@dataclass(frozen=True, slots=True)
class Side:
    """One configuration. `values` maps a replicate's seed to its macro-F1."""

    label: str
    study: optuna.Study
    """Where its replicates are."""
    searched: tuple[optuna.Study, FrozenTrial] | None
    """The trial of a search that it is; None for a baseline whose replicates were asked for by name."""
    values: dict[int, float]
    data_hash: str
    n_diverged: int = 0
    """Replicates that diverged and have no value."""
    epochs: int | None = None
    """The length of its trainings' schedule; None if it is not stored."""


@dataclass(frozen=True, slots=True)
class Comparison:
    a: Side
    b: Side
    difference: Difference

    @property
    def lengths(self) -> tuple[int, int] | None:
        """The epochs of both sides' schedules where they differ."""
        a, b = self.a.epochs, self.b.epochs
        return None if a is None or b is None or a == b else (a, b)

    @property
    def verdict(self) -> str:
        """Return the verdict in words, at 95 %."""
        d, n = self.difference, f"n = {self.difference.n_a} and {self.difference.n_b}"
        if d.paired and d.low == d.high == 0:
            return "the same on every seed"
        for side, is_better in ((self.a, d.low > 0), (self.b, d.high < 0)):
            if d.known and is_better:
                if side.n_diverged:
                    return f"cannot be told: {side.n_diverged} replicates of {side.label} diverged"
                return f"{side.label} is better"
        return f"cannot be told at {n}"


def find_side(storage: Storage, spec: str, default_study: str, split: Split) -> Side:
    """Return the configuration that `spec` names, with its replicates.

    Raises UsageError when `spec` matches nothing in this storage.
    """
    names = optuna.get_all_study_names(storage.optuna)
    study_name, separator, which = spec.rpartition(":")
    if not separator:
        if spec in names:
            return _of_trial(storage, load(storage, spec), None, spec, split)
        study_name, which = default_study, spec
    if which.isdecimal():
        if study_name not in names:
            raise UsageError(_unknown(spec, names))
        return _of_trial(storage, load(storage, study_name), int(which), spec, split)
    own = [study_name] if separator else [study_name, baselines_name(study_name)]
    others = [] if separator else [name for name in names if name not in own]
    for group in (own, others):
        matching = []
        for name in group:
            label = spec if name in own else f"{name}:{which}"  # not the named study's: say whose
            if name in names and (side := _of_baseline(storage, name, which, label, split)):
                matching.append(side)
        if matching:  # the search may know the baseline by one training, its replicates have values
            return next((side for side in matching if side.values), matching[0])
    raise UsageError(_unknown(spec, names))


def compare(a: Side, b: Side) -> Comparison:
    """Compare two sides. Raises RefusedError if one has no replicates, or their data differ."""
    if a.data_hash != b.data_hash:
        raise RefusedError(f"{a.label} and {b.label} were trained on different data")
    for side in (a, b):
        if not side.values:
            raise RefusedError(
                f"{side.label} has no replicates to compare; `bloodsearch compare ... --replicates 3` "
                "trains them, and `bloodsearch final-eval` or `--baselines` tests them"
            )
    return Comparison(a, b, difference(a.values, b.values))


def queue_replicates(storage: Storage, side: Side, n_replicates: int) -> optuna.Study | None:
    """Queue the missing ones of a side's first replicates; return None for a baseline with its own."""
    if side.searched is None:
        return None
    study, trial = side.searched
    return replicate_study(storage, info(study), trial, n_replicates)[0]


def as_dict(comparison: Comparison, split: Split) -> dict[str, Any]:
    """Return the comparison as JSON."""
    d = comparison.difference
    return {
        "split": split,
        "metric": "macro_f1",
        "a": _side_dict(comparison.a),
        "b": _side_dict(comparison.b),
        "difference": d.mean,
        "interval_95": [d.low, d.high] if d.known else None,
        "paired": d.paired,
        "n": [d.n_a, d.n_b],
        "sd": d.sd if d.known else None,
        "verdict": comparison.verdict,
        "replicates_needed": d.needed(),
    }


def _side_dict(side: Side) -> dict[str, Any]:
    values = list(side.values.values())
    return {
        "label": side.label,
        "study": side.study.study_name,
        "seeds": list(side.values),
        "n_diverged": side.n_diverged,
        "epochs": side.epochs,
        "values": values,
        "mean": sum(values) / len(values),
    }


def _of_trial(
    storage: Storage, study: optuna.Study, number: int | None, spec: str, split: Split
) -> Side:
    results = [o.result for o in ledger.openings(storage, study.study_name) if o.result]
    tested = [r for r in results if "seeds" in r]
    if number is None and tested:
        number = tested[-1]["trial"]
    elif number is None and (race := study_record(study).selection) is not None:
        number = race.winner  # a ladder or a second stage has chosen, and its replicates are there
    trial = choose_winner(study, number)
    values: dict[int, float] = {}
    n_diverged, epochs = 0, None
    name = replicates_home(storage, study.study_name, trial.number)
    try:
        replicas = load(storage, name)
    except StorageError:
        replicas = study
    else:
        own = trials_of(replicas, trial.number)
        n_diverged = sum(map(has_diverged, own))
        epochs = _epochs(own)
        if split == "val":
            values = _by_seed(own)
    if split == "test":
        for result in tested:
            if result["trial"] == trial.number:
                values = dict(zip(result["seeds"], result["test_macro_f1"]["values"], strict=True))
    label = f"{spec} (trial {trial.number})" if number is None or spec == study.study_name else spec
    data_hash = info(study).fingerprint.content_hash
    return Side(label, replicas, (study, trial), values, data_hash, n_diverged, epochs)


def _of_baseline(
    storage: Storage, study_name: str, baseline: str, spec: str, split: Split
) -> Side | None:
    study = optuna.load_study(study_name=study_name, storage=storage.optuna)
    stored = study_record(study)
    if not stored.ready:
        return None
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    trials = [trial for trial in complete if trial_record(trial).baseline == baseline]
    if not trials:
        return None
    if stored.kind == "search":
        return _of_trial(storage, study, trials[0].number, spec, split)
    values = _by_seed(trials)
    if split == "test":
        values = {}
        for row in (latest_result(storage, study_name) or {"configurations": []})["configurations"]:
            if row["name"] == baseline:
                values = dict(zip(row["seeds"], row["test_macro_f1"]["values"], strict=True))
    data_hash = info(study).fingerprint.content_hash
    return Side(spec, study, None, values, data_hash, _n_diverged(study, baseline), _epochs(trials))


def _n_diverged(study: optuna.Study, baseline: str) -> int:
    """Return how many replicates of a baseline ended without a value."""
    diverged = filter(has_diverged, study.get_trials(deepcopy=False))
    return sum(trial_record(trial).baseline == baseline for trial in diverged)


def _epochs(trials: list[FrozenTrial]) -> int | None:
    """Return the epochs of the schedule that the trainings share, by the first that was trained."""
    configs = (trial_record(trial).config for trial in trials)
    return next((config.get("epochs") for config in configs if config), None)


def _by_seed(trials: list[FrozenTrial]) -> dict[int, float]:
    return {
        record.seed: record.value
        for record in map(trial_record, trials)
        if record.state == "complete" and record.value is not None and record.seed is not None
    }


def _unknown(spec: str, names: list[str]) -> str:
    available = ", ".join(sorted(names)) or "none"
    return (
        f"{spec!r} matches no study, trial or baseline here; name STUDY, STUDY:TRIAL or a baseline "
        f"(available studies: {available})"
    )
