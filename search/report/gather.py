"""Everything a report says, read from the storage and, if they are at hand, the data.

The test split is never opened: what is known of it comes from the ledger, where the final evaluation
wrote it.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import FrozenTrial

from ..data.bloodmnist import Dataset, load_dataset
from ..database.storage import Storage
from ..errors import BloodsearchError
from ..evaluation.leaderboard import standing
from ..evaluation.ledger import Opening, openings
from ..records import Ending, study_record, trial_record
from ..records import TrialRecord as StoredTrial
from ..study import StudyInfo, info
from ..text import one_line


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """A trial of any state. Lists run over epochs, the first at index 0."""

    number: int
    state: str
    value: float | None
    curve: list[float]
    """Validation macro-F1."""
    params: dict[str, Any]
    family: str
    baseline: str | None
    seed: int | None
    n_parameters: int | None
    train_seconds: float | None
    started: datetime.datetime | None
    finished: datetime.datetime | None
    train_losses: list[float]
    val_losses: list[float]
    confusion: NDArray[np.int64] | None
    """Validation counts (8, 8) of the best epoch: rows are true classes."""
    ending: Ending
    stop_reason: str
    """How it ended, for people."""
    best_epoch: int | None
    epochs: int
    stored: StoredTrial
    raw: FrozenTrial

    @property
    def best(self) -> float | None:
        """The value of a complete trial, the best epoch's of another."""
        return self.value if self.value is not None else max(self.curve, default=None)

    @property
    def label(self) -> str:
        return f"{self.number} ({self.baseline})" if self.baseline else str(self.number)


@dataclass(frozen=True, slots=True)
class Gathered:
    info: StudyInfo
    shown_storage: str
    trials: list[TrialRecord]
    openings: list[Opening]
    dataset: Dataset | None
    """None where the data cannot be had; `no_data` then says why."""
    no_data: str
    versions: dict[str, str]
    raced: dict[str, Any] | None = None
    """What the latest second stage found (search/evaluation/race.py)."""

    @property
    def complete(self) -> list[TrialRecord]:
        """Complete trials, best first."""
        found = [t for t in self.trials if t.state == "complete" and t.value is not None]
        return sorted(found, key=lambda t: (-(t.value or 0.0), t.number))

    @property
    def finished(self) -> list[TrialRecord]:
        """Complete and pruned trials by number."""
        return [t for t in self.trials if t.state in ("complete", "pruned")]

    @property
    def winner(self) -> TrialRecord | None:
        """The trial of the final evaluation, else the second stage's, else the best complete one."""
        if self.final is not None:
            number = self.final["trial"]
        elif self.selection is not None:
            number = self.selection["winner"]
        else:
            number = None
        for trial in self.complete:
            if trial.number == number:
                return trial
        return next(iter(self.complete), None)

    @property
    def final(self) -> dict[str, Any] | None:
        """The latest final evaluation's result, from the ledger."""
        results = [o.result for o in self.openings if o.result and "confusion_matrix" in o.result]
        return results[-1] if results else None

    @property
    def selection(self) -> dict[str, Any] | None:
        """The second stage that chose the winner: an evaluation of a trial that was named has none."""
        return self.raced if self.final is None else self.final.get("selection")

    @property
    def synthetic(self) -> bool:
        return self.info.fingerprint.dataset == "synthetic"


def gather(storage: Storage, study: optuna.Study, data_root: Path | None) -> Gathered:
    """Read a study. Missing or other data cost the pictures that need them, nothing else."""
    study_info, stored = info(study), study_record(study)
    dataset, why = _dataset(study_info, data_root)
    return Gathered(
        info=study_info,
        shown_storage=storage.shown,
        trials=[record(trial) for trial in study.get_trials(deepcopy=False)],
        openings=openings(storage, study.study_name),
        dataset=dataset,
        no_data=why,
        versions=stored.versions,
        raced=study.user_attrs.get("selection"),
    )


def record(trial: FrozenTrial) -> TrialRecord:
    """A stored trial as reports use it."""
    stored, known = trial_record(trial), standing(trial)
    return TrialRecord(
        number=trial.number,
        state=known.state,
        # a pruned trial's value is its last report, which ranks nothing
        value=trial.value if known.state == "complete" else None,
        curve=stored.curve,
        params=known.params,
        family=known.family or str(known.params.get("arch", "")),
        # its name labels points in figures: a planted "$" is no formula
        baseline=known.baseline and one_line(known.baseline).replace("$", "\\$"),
        seed=stored.seed,
        n_parameters=known.n_parameters,
        train_seconds=stored.train_seconds,
        started=trial.datetime_start,
        finished=trial.datetime_complete,
        train_losses=stored.train_losses or [],
        val_losses=stored.val_losses or [],
        confusion=None
        if stored.confusion is None
        else np.asarray(stored.confusion, dtype=np.int64),
        ending=stored.ending,
        stop_reason=known.stop_reason,
        best_epoch=stored.best_epoch,
        epochs=known.epochs,
        stored=stored,
        raw=trial,
    )


def _dataset(study_info: StudyInfo, data_root: Path | None) -> tuple[Dataset | None, str]:
    try:
        found = load_dataset(study_info.fingerprint.dataset, data_root)
    except BloodsearchError as error:
        return None, str(error)
    if found.fingerprint.content_hash != study_info.fingerprint.content_hash:
        return None, (
            f"the data found are not the study's (content hash {found.fingerprint.content_hash}, "
            f"the study's {study_info.fingerprint.content_hash}); name its file with --data-root"
        )
    return found, ""
