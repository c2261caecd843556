"""The sampler of a trial: TPE or random, seeded by study and trial number."""

from __future__ import annotations

import warnings

import optuna

from ...studies import StudyFile
from ..seeds import derive_seed


def trial_sampler(
    study_file: StudyFile, trial_number: int, draw: int = 0
) -> optuna.samplers.BaseSampler:
    """The sampler for one trial, seeded by study and trial number; another one for each redraw.

    So no two workers or incarnations share a stream, and a search with one worker can be repeated.
    """
    again = (draw,) if draw else ()
    seed = derive_seed(study_file.search.seed, "sampler", trial_number, *again)
    if study_file.search.sampler == "tpe":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(
                seed=seed,
                n_startup_trials=study_file.search.startup_trials,
                multivariate=True,
                # the families' parameters are modelled jointly inside each family, not dropped
                # to independent sampling because the other family lacks them
                group=True,
                constant_liar=True,
            )
    return optuna.samplers.RandomSampler(seed=seed)
