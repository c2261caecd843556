"""What a claimed trial is to train: its point, its configuration, its seed."""

from __future__ import annotations

import optuna

from .outcome import Hooks
from .space import Params, searched, to_config
from .study import StudyInfo, derive_seed
from .training.config import TrialConfig
from .training.cost import n_parameters


def resolve(params: Params, study_info: StudyInfo, *, final: bool) -> TrialConfig:
    """The training configuration of a point, for the search or for the final evaluation."""
    training = study_info.study_file.training
    if not final:
        return to_config(
            params,
            epochs=training.epochs_of(params["arch"]),
            patience=training.patience,
            min_epochs=training.min_epochs,
        )
    fixed = {name: value for name, value in params.items() if name not in ("epochs", "patience")}
    epochs = training.final_epochs_of(params["arch"])
    return to_config(fixed, epochs=epochs, patience=training.final_patience)


def trial_seed(study_info: StudyInfo, trial: optuna.Trial) -> int:
    """The training seed of a trial, whoever runs it."""
    given = trial.user_attrs.get("seed")
    if isinstance(given, int):
        return given
    return derive_seed(study_info.study_file.search.seed, "train", trial.number)


def is_audited(study_info: StudyInfo, number: int) -> bool:
    """Whether this trial runs to its end whatever the pruner says, to see what the pruner misses."""
    study_file = study_info.study_file
    drawn = derive_seed(study_file.search.seed, "audit", number) / 2**31
    return drawn < study_file.pruner.audit


def parameters(trial: optuna.Trial, study_info: StudyInfo, hooks: Hooks) -> Params:
    """The trial's point: queued, stored before an interruption, or sampled and stored now."""

    def small_enough(params: Params) -> bool:
        limit = study_info.study_file.search.max_params
        if limit is None:
            return True
        return n_parameters(resolve(params, study_info, final=False).model) <= limit

    point = trial.user_attrs.get("point")
    if point is None:
        return hooks.suggest(trial, study_info.study_file, small_enough)
    if searched(point, study_info.study_file):
        # stores the queued values as the trial's parameters
        hooks.suggest(trial, study_info.study_file, lambda params: True)
    return dict(point)
