"""Choosing on validation: the leaderboard, the winner, and its replicates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from ...studies import StudyFile
from ..errors import RefusedError, UsageError
from ..storage import Storage
from ..study import StudyInfo, create_or_resume, derive_seed, enqueue, info

TOP = 8
"""As many trials go into the choice of a winner by default: an audited one among them was nearly missed."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A finished trial on the leaderboard."""

    number: int
    value: float | None
    state: str
    params: dict[str, Any]
    epochs: int
    seconds: float
    family: str
    baseline: str | None
    n_parameters: int | None
    stop_reason: str


def standing(trial: FrozenTrial) -> Standing:
    """What the leaderboard shows of a trial."""
    attrs = trial.user_attrs
    duration = trial.duration.total_seconds() if trial.duration else 0.0
    return Standing(
        number=trial.number,
        value=trial.value,
        state=trial.state.name.lower(),
        params=dict(attrs.get("params", trial.params)),
        epochs=int(attrs.get("epochs", len(trial.intermediate_values))),
        seconds=round(duration, 2),
        family=str(attrs.get("family", "")),
        baseline=attrs.get("baseline"),
        n_parameters=attrs.get("n_parameters"),
        stop_reason=str(attrs.get("stop_reason", "")),
    )


def leaderboard(study: optuna.Study, top: int | None = None) -> list[Standing]:
    """Finished trials, best first: complete ones by value, then pruned ones by their last value."""
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    trials = study.get_trials(deepcopy=False, states=states)
    order = sorted(
        trials,
        key=lambda t: (t.state is not TrialState.COMPLETE, -(t.value or 0.0), t.number),
    )
    return [standing(trial) for trial in order[:top]]


def audited(trials: list[FrozenTrial]) -> dict[str, int]:
    """How many complete trials the pruner would have stopped, and how many of the best `TOP` are such."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    best = sorted(complete, key=lambda trial: -(trial.value or 0.0))[:TOP]
    return {
        "n": sum("audit" in trial.user_attrs for trial in complete),
        "mattered": sum("audit" in trial.user_attrs for trial in best),
    }


def complete_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The study's complete trials. Raises RefusedError when there are none."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        raise RefusedError(
            f"the study {study.study_name!r} has no complete trial yet; run `bloodsearch optimize`"
        )
    return complete


def choose_winner(study: optuna.Study, number: int | None) -> FrozenTrial:
    """The complete trial with the best validation macro-F1, or the one asked for.

    Raises RefusedError when no trial is complete, UsageError when `number` names none.
    """
    complete = complete_trials(study)
    if number is None:
        return max(complete, key=lambda trial: (trial.value or 0.0, -trial.number))
    for trial in complete:
        if trial.number == number:
            return trial
    raise UsageError(
        f"trial {number} of {study.study_name!r} is not complete; `bloodsearch leaderboard` lists those"
    )


def replicate_study(
    storage: Storage, study_info: StudyInfo, winner: FrozenTrial, n_replicates: int
) -> tuple[optuna.Study, list[int]]:
    """The study that holds the winner's replicates, with all of them queued, and their seeds.

    Replicates are trials of a study of their own (`NAME-final-TRIAL`), so that workers, leases and
    checkpoints serve them as they serve a search. Those that exist are kept.
    """
    name = f"{study_info.name}-final-{winner.number}"
    study = create_or_resume(
        storage, name, study_info.study_file, study_info.fingerprint, kind="replicates"
    )
    seeds = replicate_seeds(study_info.study_file, n_replicates)
    queue_replicates(storage, study, winner, seeds)
    return study, seeds


def queue_replicates(
    storage: Storage, study: optuna.Study, winner: FrozenTrial, seeds: list[int]
) -> None:
    """Queue the winner's point with each of `seeds` in `study`, unless it is there with its weights."""
    study_file, point = info(study).study_file, winner.user_attrs["params"]
    with storage.lock():
        usable = {
            trial.user_attrs.get("seed")
            for trial in study.get_trials(deepcopy=False)
            if trial.state is not TrialState.FAIL and not weights_missing(trial)
        }
        for i, seed in enumerate(seeds):
            if seed not in usable:
                enqueue(
                    study, study_file, point, seed=seed, replicate=i, replicate_of=winner.number
                )


def replicate_seeds(study_file: StudyFile, n_replicates: int) -> list[int]:
    """The seeds of replicates 0, 1, ...: the same for every configuration, so that pairs can be compared."""
    base = study_file.search.seed
    return [derive_seed(base, "replicate", i) for i in range(n_replicates)]


def replicates(study: optuna.Study, seeds: list[int]) -> list[FrozenTrial]:
    """The complete trials of a replicate study with these seeds, in their order."""
    by_seed = {
        trial.user_attrs.get("seed"): trial
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not weights_missing(trial)
    }
    return [by_seed[seed] for seed in seeds if seed in by_seed]


def ended_badly(study: optuna.Study, seeds: list[int]) -> tuple[list[int], list[str]]:
    """Of `seeds` that have no replicate: those that diverged, and why the others lack.

    A diverged training is a result: it would diverge again. The others can be trained yet.
    """
    diverged, lacking = [], []
    trials = {t.user_attrs.get("seed"): t for t in study.get_trials(deepcopy=False)}  # the latest
    for seed in seeds:
        trial = trials.get(seed)
        if trial is None:
            lacking.append("one is not queued")
        elif trial.state is TrialState.PRUNED:
            diverged.append(seed)
        elif trial.state is TrialState.COMPLETE:
            lacking.append(f"the weights of trial {trial.number} are not on this machine")
        else:
            why = trial.user_attrs.get("stop_reason", trial.state.name.lower())
            lacking.append(f"trial {trial.number}: {why}")
    return diverged, lacking


def weights_missing(trial: FrozenTrial) -> bool:
    """Complete, but its weights lie on another machine or were deleted."""
    if trial.state is not TrialState.COMPLETE:
        return False
    return not Path(str(trial.user_attrs.get("weights", ""))).is_file()
