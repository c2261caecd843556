"""Seeds: derived from a study's own, so that any trial or replicate can be trained again."""

from __future__ import annotations

import hashlib

import optuna

from ..studies import StudyFile


def derive_seed(*parts: object) -> int:
    """A 31-bit seed that depends on all parts."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def trial_seed(study_file: StudyFile, trial: optuna.Trial) -> int:
    """The training seed of a trial, whoever runs it."""
    given = trial.user_attrs.get("seed")
    if isinstance(given, int):
        return given
    return derive_seed(study_file.search.seed, "train", trial.number)


def replicate_seeds(study_file: StudyFile, n_replicates: int) -> list[int]:
    """The seeds of replicates 0, 1, ...: the same for every configuration, so that pairs can be compared."""
    base = study_file.search.seed
    return [derive_seed(base, "replicate", i) for i in range(n_replicates)]
