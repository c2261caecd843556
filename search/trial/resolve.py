"""What a claimed trial is to train: its point, its configuration, its seed."""

from __future__ import annotations

import optuna

from ..limits import TooCostly, check_size
from ..sampling.space import Params, searched, to_config
from ..study import StudyInfo
from ..training.config import TrialConfig
from .outcome import Hooks


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


def parameters(trial: optuna.Trial, study_info: StudyInfo, hooks: Hooks) -> Params:
    """The trial's point: queued, stored before an interruption, or sampled and stored now."""

    def small_enough(params: Params) -> bool:
        model = resolve(params, study_info, final=False).model
        try:
            check_size(model, study_info.study_file.search.max_params)
        except TooCostly:
            return False
        return True

    point = trial.user_attrs.get("point")
    if point is None:
        return hooks.suggest(trial, study_info.study_file, small_enough)
    if searched(point, study_info.study_file):
        # stores the queued values as the trial's parameters
        hooks.suggest(trial, study_info.study_file, lambda params: True)
    return dict(point)
