"""A session as a worker would give it, without leases: what trials are tested with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ParamSpec, TypeVar

import optuna
from optuna.storages import InMemoryStorage

from bloodsearch.search.pruning.pruner import FamilyPruner, make_pruner
from bloodsearch.search.sampling.draw import Accept, suggest_at_once
from bloodsearch.search.sampling.space import Params, suggest
from bloodsearch.search.study import StudyInfo
from bloodsearch.studies import StudyFile

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class PlainSession:
    """Stores through Optuna, or does what `on_report` and `stop` say instead."""

    trial: optuna.Trial
    study_info: StudyInfo
    checkpoints: Path
    on_report: Callable[[int, float], None] | None = None
    stop: Callable[[], bool] = lambda: False
    warnings: list[str] = field(default_factory=list)
    kept: list[dict[int, float]] = field(default_factory=list)
    """The reports that were kept each time that others were removed."""

    def __post_init__(self) -> None:
        self.pruner: FamilyPruner = make_pruner(self.study_info.study_file)

    def suggest(self, file: StudyFile, accept: Accept) -> Params:
        backend = getattr(self.trial.storage, "_backend", None)
        if backend is None:
            return suggest(self.trial, file)
        return suggest_at_once(backend.engine.begin, self.trial, file)

    def report(self, epoch: int, value: float) -> None:
        if self.on_report is not None:
            self.on_report(epoch, value)
        else:
            self.trial.report(value, epoch)

    def keep_reports(self, values: dict[int, float]) -> None:
        self.kept.append(dict(values))
        trial = self.trial
        if isinstance(trial.storage, InMemoryStorage):
            trial.storage._get_trial(trial._trial_id).intermediate_values = dict(values)
            trial._cached_frozen_trial.intermediate_values = dict(values)

    def persist(self, operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return operation(*args, **kwargs)

    def should_stop(self) -> bool:
        return self.stop()

    def warn(self, message: str) -> None:
        self.warnings.append(message)
