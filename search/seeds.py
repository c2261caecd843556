"""Seeds, derived from the study's seed: any trial or replicate can be trained again."""

from __future__ import annotations

import hashlib

import optuna

from ..studies import StudyFile


def derive_seed(*parts: object) -> int:
    """Return a 31-bit seed that depends on all parts."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def trial_seed(study_file: StudyFile, trial: optuna.Trial) -> int:
    """Return the training seed of a trial. It is the same in every worker."""
    stored = trial.user_attrs.get("seed")
    if isinstance(stored, int):
        return stored
    return derive_seed(study_file.search.seed, "train", trial.number)


def replicate_seeds(study_file: StudyFile, n_replicates: int) -> list[int]:
    """Return the seeds of replicates 0, 1, ... Every configuration gets the same, so pairs are comparable."""
    base = study_file.search.seed
    return [derive_seed(base, "replicate", i) for i in range(n_replicates)]
