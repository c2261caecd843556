"""The sampler of a trial: TPE or random, seeded by study and trial number."""

from __future__ import annotations

import warnings

import optuna

from ...studies import StudyFile
from ..seeds import derive_seed

RANDOM_DRAWS = 1000
"""From this draw on a trial's sampler is random."""


def trial_sampler(
    study_file: StudyFile, trial_number: int, draw: int = 0
) -> optuna.samplers.BaseSampler:
    """Return the sampler for one draw of one trial, seeded by study, trial number and draw.

    No two workers or incarnations share a stream, and a search with one worker is repeatable.
    """
    again = (draw,) if draw else ()
    seed = derive_seed(study_file.search.seed, "sampler", trial_number, *again)
    if study_file.search.sampler == "tpe" and draw < RANDOM_DRAWS:
        return make_sampler(seed, study_file.search.startup_trials)
    return optuna.samplers.RandomSampler(seed=seed)


def make_sampler(seed: int | None = None, startup_trials: int = 16) -> optuna.samplers.TPESampler:
    """Return the TPE sampler of every search, for any Optuna study.

    Trials of several processes may share it: running trials count as bad ones. The first
    `startup_trials` trials are random. Give each process its own `seed`, or None.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=startup_trials,
            multivariate=True,
            # Without groups the parameters of one family would be sampled independently, because
            # the other family lacks them.
            group=True,
            constant_liar=True,
        )
