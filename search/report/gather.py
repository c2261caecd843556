"""Read everything a report needs from the storage and, where they are available, the data.

The test split is never opened: test scores come from the ledger, where the final evaluation stored them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from ...studies import StudyFile
from ..data.info import DatasetInfo
from ..data.load import Dataset, load_dataset
from ..database.storage import Storage
from ..errors import BloodsearchError
from ..evaluation.ledger import Opening, openings
from ..files import finite
from ..records import Ending, TrialRecord, study_record, trial_record
from ..results import FinalResult, Race, final_result
from ..sampling.space import distribution
from ..study import StudyInfo, info
from ..study_names import take_apart
from ..text import one_line

UNTRAINABLE = (Ending.DIVERGED, Ending.OUT_OF_MEMORY, Ending.TOO_COSTLY)
"""Endings of trials that have no score. The last report of such a trial is a zero for the sampler."""

Space = dict[str, BaseDistribution]
"""The searched parameters with their ranges; fixed parameters are not in it."""


@dataclass(frozen=True, slots=True)
class ReportTrial:
    """A trial of any state. Lists run over epochs; the first epoch is at index 0."""

    record: TrialRecord
    value: float | None
    """Validation macro-F1 of a complete trial, None for any other."""
    curve: list[float]
    """Validation macro-F1."""
    searched: dict[str, Any] = field(default_factory=dict)
    """The sampled parameters that are inside the study's space."""
    outside: dict[str, Any] = field(default_factory=dict)
    """The sampled parameters that are not: another program chose them."""

    @property
    def number(self) -> int:
        return self.record.number

    @property
    def state(self) -> str:
        return self.record.state

    @property
    def ending(self) -> Ending:
        return self.record.ending

    @property
    def params(self) -> dict[str, Any]:
        """All parameters, or the sampled ones of a trial of another program."""
        return self.record.shown_params

    @property
    def family(self) -> str:
        """The model family; empty if it is unknown."""
        return self.record.family or str(self.params.get("arch", ""))

    @property
    def baseline(self) -> str | None:
        name = self.record.baseline
        return None if name is None else one_line(name)

    @property
    def foreign(self) -> bool:
        """Whether another program finished the trial, so bloodsearch knows no more than its score."""
        return self.state in ("complete", "pruned") and self.record.params is None

    @property
    def confusion(self) -> NDArray[np.int64] | None:
        """Validation counts (classes, classes) of the best epoch: rows are true classes."""
        counts = self.record.confusion
        return None if counts is None else np.asarray(counts, dtype=np.int64)

    @property
    def epochs(self) -> int:
        """Epochs trained."""
        return len(self.curve) if self.record.epochs is None else self.record.epochs

    @property
    def planned_epochs(self) -> int | None:
        """Epochs that the trial would train without pruning and patience."""
        return (self.record.config or {}).get("epochs")

    @property
    def best(self) -> float | None:
        """The value of a complete trial, the best epoch of a pruned one, None without a score."""
        if self.ending in UNTRAINABLE:
            return None
        return self.value if self.value is not None else max(self.curve, default=None)

    @property
    def label(self) -> str:
        return f"{self.number} ({self.baseline})" if self.baseline else str(self.number)


@dataclass(frozen=True, slots=True)
class Gathered:
    """A study as its report reads it."""

    info: StudyInfo
    shown_storage: str
    trials: list[ReportTrial]
    openings: list[Opening]
    dataset: Dataset | None
    """None where the data are unavailable; `no_data` then says why."""
    no_data: str
    versions: dict[str, str]
    space: Space
    race: Race | None = None
    """The latest second stage."""
    lost_refits: bool = False
    """Whether the final evaluation's refits on training and validation data all diverged."""

    @property
    def complete(self) -> list[ReportTrial]:
        """Complete trials with a value, best first."""
        complete = [t for t in self.trials if t.state == "complete" and t.value is not None]
        return sorted(complete, key=lambda t: (-(t.value or 0.0), t.number))

    @property
    def finished(self) -> list[ReportTrial]:
        """Complete and pruned trials by number."""
        return [t for t in self.trials if t.state in ("complete", "pruned")]

    @property
    def searched(self) -> list[ReportTrial]:
        """Finished trials with a sampled point inside the space. Baselines are not among them."""
        return [t for t in self.finished if t.searched and not t.outside and not t.baseline]

    @property
    def winner(self) -> ReportTrial | None:
        """The trial of the final evaluation, else of the second stage, else the best complete one.

        A trial of another program cannot be trained again, so it is never the winner.
        """
        if self.final is not None:
            number: int | None = self.final.trial
        else:
            number = None if self.selection is None else self.selection.winner
        candidates = [t for t in self.complete if not t.foreign]
        chosen = [t for t in candidates if t.number == number]
        return next(iter(chosen or candidates), None)

    @property
    def final(self) -> FinalResult | None:
        """The latest final evaluation's result, from the ledger."""
        return final_result(self.stored_result)

    @property
    def stored_result(self) -> dict[str, Any] | None:
        """The same as the ledger stores it."""
        return _latest_final(self.openings)

    @property
    def selection(self) -> Race | None:
        """The second stage that chose the winner; None if the evaluated trial was named by hand."""
        return self.race if self.final is None else self.final.selection

    @property
    def about(self) -> DatasetInfo:
        """The description of the data set, also where the data are unavailable."""
        return self.info.dataset

    @property
    def synthetic(self) -> bool:
        return self.info.fingerprint.dataset == "synthetic"


def gather(storage: Storage, study: optuna.Study, data_root: Path | None) -> Gathered:
    """Read a study. Missing or different data cost only the pictures that need them."""
    study_info, stored = info(study), study_record(study)
    dataset, reason = _dataset(study_info, data_root)
    space = searched_space(study_info.study_file)
    opened = openings(storage, study.study_name)
    return Gathered(
        info=study_info,
        shown_storage=storage.shown,
        trials=[report_trial(trial, space) for trial in study.get_trials(deepcopy=False)],
        openings=opened,
        dataset=dataset,
        no_data=reason,
        versions=stored.versions,
        space=space,
        race=stored.selection,
        lost_refits=_lost_refits(storage, study.study_name, final_result(_latest_final(opened))),
    )


def _latest_final(opened: Sequence[Opening]) -> dict[str, Any] | None:
    results = [o.result for o in opened if final_result(o.result) is not None]
    return results[-1] if results else None


def _lost_refits(storage: Storage, name: str, result: FinalResult | None) -> bool:
    """Return whether refits of the evaluated trial were trained and none of them came to its end."""
    if result is None:
        return False
    refits = [
        trial_record(trial)
        for other in optuna.get_all_study_names(storage.optuna)
        if (part := take_apart(other)) is not None
        and (part.base, part.kind, part.trial) == (name, "refits", result.trial)
        for trial in optuna.load_study(study_name=other, storage=storage.optuna).get_trials(
            deepcopy=False
        )
    ]
    ended = [refit for refit in refits if refit.seed in result.seeds]
    return bool(ended) and not any(refit.state == "complete" for refit in ended)


def searched_space(study_file: StudyFile) -> Space:
    """Return the parameters that the study file does not fix, with their ranges."""
    distributions = {name: distribution(name, entry) for name, entry in study_file.space.items()}
    return {name: d for name, d in distributions.items() if d is not None}


def report_trial(trial: FrozenTrial, space: Mapping[str, BaseDistribution]) -> ReportTrial:
    """Return a stored trial as reports use it."""
    stored = trial_record(trial)
    inside = {
        name: name in space and contains(space[name], v) for name, v in stored.sampled.items()
    }
    return ReportTrial(
        record=stored,
        # a pruned trial's value is its last report, which ranks nothing
        value=finite(stored.value) if stored.state == "complete" else None,
        curve=[finite(value) or 0.0 for value in stored.curve],
        searched={name: value for name, value in stored.sampled.items() if inside[name]},
        outside={name: value for name, value in stored.sampled.items() if not inside[name]},
    )


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Return whether `value` is one of the distribution's."""
    try:
        internal = distribution.to_internal_repr(value)
    except (ValueError, TypeError):
        return False
    return math.isfinite(internal) and distribution._contains(internal)


def _dataset(study_info: StudyInfo, data_root: Path | None) -> tuple[Dataset | None, str]:
    try:
        dataset = load_dataset(study_info.fingerprint, data_root)
    except BloodsearchError as error:
        return None, str(error)
    here, wanted = dataset.fingerprint.content_hash, study_info.fingerprint.content_hash
    if here != wanted:
        return None, (
            f"the data are not the study's: their content hash is {here}, the study was made with "
            f"{wanted}; pass the folder of the right file with --data-root"
        )
    return dataset, ""
