"""Refits: the winner trained on the training and validation split together. Declared, never the plain figure.

With nothing held back no epoch can be chosen: a refit trains for a number of epochs fixed before, and its
last weights count.
"""

from __future__ import annotations

import statistics

import optuna
from optuna.trial import FrozenTrial

from ...studies import StudyFile, parse_study
from ..database.storage import Storage
from ..records import trial_record
from ..study import StudyInfo, create_or_resume
from ..study_names import refits_name
from .long_trainings import long_file
from .selection import queue_replicates


def refit_study(
    storage: Storage,
    study_info: StudyInfo,
    winner: FrozenTrial,
    plain: list[FrozenTrial],
    seeds: list[int],
) -> optuna.Study:
    """Return the study `NAME-final-TRIAL-train-val` with a refit for each of `seeds` queued.

    `plain` are the winner's trained replicates: where patience ended those, a refit trains for the
    mean of their best epochs, which the study's name then ends with: more replicates may have another mean.
    """
    best_epochs = [epoch for t in plain if (epoch := trial_record(t).best_epoch)]
    file = refit_file(study_info.study_file, best_epochs)
    epochs = None
    if study_info.study_file.training.final_patience:
        family = str((trial_record(winner).params or {})["arch"])
        epochs = file.training.final_epochs_of(family)
    study = create_or_resume(
        storage,
        refits_name(study_info.name, winner.number, epochs),
        file,
        study_info.fingerprint,
        kind="refits",
    )
    queue_replicates(storage, study, winner, seeds)
    return study


def refit_file(file: StudyFile, best_epochs: list[int]) -> StudyFile:
    """Return `file` with the epochs of a refit, and without patience."""
    data = long_file(file).model_dump(mode="json")
    if file.training.final_patience:
        data["training"]["final_epochs"] = max(1, round(statistics.fmean(best_epochs)))
        data["training"]["final_patience"] = 0
    return parse_study(data, file.name)
