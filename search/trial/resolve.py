"""The point and the configuration of a claimed trial."""

from __future__ import annotations

from ..limits import TooCostly, check_size
from ..sampling.space import Params, searched, to_config, without_length
from ..study import StudyInfo
from ..training.config import TrialConfig
from .session import Session


def resolve(params: Params, study_info: StudyInfo, *, final: bool) -> TrialConfig:
    """Return the training configuration of a point, for the search or the final evaluation."""
    training = study_info.study_file.training
    if study_info.kind == "rung":  # a baseline's own epochs count in the search alone
        params = without_length(params)
    if not final:
        return to_config(
            params,
            epochs=training.epochs_of(params["arch"]),
            patience=training.patience,
            min_epochs=training.min_epochs,
            shape=study_info.dataset.shape,
        )
    epochs = training.final_epochs_of(params["arch"])
    return to_config(
        without_length(params),
        epochs=epochs,
        patience=training.final_patience,
        shape=study_info.dataset.shape,
    )


def parameters(session: Session, study_info: StudyInfo) -> Params:
    """Return the trial's point: the queued one, the stored one, or a new one that is stored now."""

    def small_enough(params: Params) -> bool:
        model = resolve(params, study_info, final=False).model
        try:
            check_size(model, study_info.study_file.search.max_params)
        except TooCostly:
            return False
        return True

    point = session.trial.user_attrs.get("point")
    if point is None:
        return session.suggest(study_info.study_file, small_enough)
    if searched(point, study_info.study_file):
        # stores the queued values as the trial's parameters
        session.suggest(study_info.study_file, lambda params: True)
    return dict(point)
