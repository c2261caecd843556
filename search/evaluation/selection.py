"""Choosing on validation: the leaderboard, the winner, and its replicates."""

from __future__ import annotations

from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from ..database.storage import Storage, options_of
from ..errors import RefusedError, UsageError
from ..records import has_diverged, is_lost, trial_record
from ..seeds import replicate_seeds
from ..study import StudyInfo, create_or_resume, enqueue, info
from ..study_names import finals_name, replicates_name
from ..suggest import command
from ..trial.weights_files import with_weights
from .long_trainings import long_file, long_point


def complete_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the study's complete trials that can be trained again.

    A trial of another program holds no configuration. Raises RefusedError when no trial is left.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not complete:
        raise RefusedError(
            f"the study {study.study_name!r} has no complete trial yet; run "
            f"{command('optimize', *options_of(study))}"
        )
    usable = [trial for trial in complete if trial_record(trial).params is not None]
    if not usable:
        raise RefusedError(
            f"all {len(complete)} complete trials of {study.study_name!r} were made by another program "
            f"and hold no configuration to train; run {command('optimize', *options_of(study))}"
        )
    return usable


def find_trial(study: optuna.Study, number: int) -> FrozenTrial:
    """Return the trial of any state with this number. Raises UsageError if there is none."""
    trials = study.get_trials(deepcopy=False)
    for trial in trials:
        if trial.number == number:
            return trial
    numbers = f"trials are numbered 0 to {len(trials) - 1}" if trials else "it has no trials yet"
    raise UsageError(f"study {study.study_name!r} has no trial {number}; {numbers}")


def choose_winner(study: optuna.Study, number: int | None) -> FrozenTrial:
    """Return the complete trial with the best validation macro-F1, or trial `number`.

    Raises RefusedError when no trial is complete, UsageError when trial `number` is not one of them.
    """
    complete = complete_trials(study)
    if number is None:
        return max(complete, key=lambda trial: (trial.value or 0.0, -trial.number))
    for trial in complete:
        if trial.number == number:
            return trial
    if find_trial(study, number).state is TrialState.COMPLETE:
        raise UsageError(
            f"trial {number} of {study.study_name!r} was made by another program and holds no "
            "configuration to train; choose another trial"
        )
    raise UsageError(
        f"trial {number} of {study.study_name!r} is not complete; "
        f"{command('leaderboard', *options_of(study))} lists those"
    )


def replicate_study(
    storage: Storage, study_info: StudyInfo, winner: FrozenTrial, n_replicates: int
) -> tuple[optuna.Study, list[int]]:
    """Return the study that holds the winner's replicates, with all of them queued, and their seeds.

    Replicates are trials of a study of their own (`NAME-final-TRIAL`, or `NAME-finals` if the winner climbed
    a ladder), so that workers, leases and checkpoints serve them as they serve a search. Existing replicates
    are kept.
    """
    name = replicates_home(storage, study_info.name, winner.number)
    study = create_or_resume(
        storage, name, long_file(study_info.study_file), study_info.fingerprint, kind="replicates"
    )
    seeds = replicate_seeds(study_info.study_file, n_replicates)
    queue_replicates(storage, study, winner, seeds)
    return study, seeds


def replicates_home(storage: Storage, name: str, trial: int) -> str:
    """Return the name of the study that holds, or shall hold, the replicates of a search's trial.

    A trial that was evaluated before it became a finalist has more of them in a study of its own.
    """
    finals, own = finals_name(name), replicates_name(name, trial)
    climbed, alone = (_states(storage, home, trial) for home in (finals, own))
    has_more = alone.count(TrialState.COMPLETE) > climbed.count(TrialState.COMPLETE)
    return finals if climbed and not has_more else own


def _states(storage: Storage, home: str, trial: int) -> list[TrialState]:
    """Return the states of the trainings of a search's trial in the study `home`, if that is stored."""
    if home not in optuna.get_all_study_names(storage.optuna):
        return []
    study = optuna.load_study(study_name=home, storage=storage.optuna)
    trials = study.get_trials(deepcopy=False)
    return [t.state for t in trials if trial_record(t).replicate_of == trial]


def queue_replicates(
    storage: Storage,
    study: optuna.Study,
    winner: FrozenTrial,
    seeds: list[int],
    *,
    needs_weights: bool = True,
) -> None:
    """Queue the winner's point with each of `seeds` in `study`, unless it is there with its weights.

    Without `needs_weights` its value is enough: to choose among finalists takes no more.
    """
    study_file = info(study).study_file
    point = long_point(study_file, winner)
    with storage.lock():
        usable = {
            trial_record(trial).seed
            for trial in with_weights(study, trials_of(study, winner.number))
            if not is_lost(trial) and not (needs_weights and weights_missing(trial))
        }
        for i, seed in enumerate(seeds):
            if seed not in usable:
                enqueue(
                    study, study_file, point, seed=seed, replicate=i, replicate_of=winner.number
                )


def replicates(study: optuna.Study, winner: int, seeds: list[int]) -> list[FrozenTrial]:
    """Return the winner's complete trials in a replicate study with these seeds, in the seeds' order."""
    complete = [trial for trial in trials_of(study, winner) if trial.state is TrialState.COMPLETE]
    by_seed = {
        trial_record(trial).seed: trial
        for trial in with_weights(study, complete)
        if not weights_missing(trial)
    }
    return [by_seed[seed] for seed in seeds if seed in by_seed]


def ended_badly(study: optuna.Study, winner: int, seeds: list[int]) -> tuple[list[int], list[str]]:
    """Split the seeds without a usable replicate into diverged ones and reasons why the others are missing.

    A diverged training is a result: it would diverge again. The others can still be trained.
    """
    diverged, lacking = [], []
    trials = {trial_record(t).seed: t for t in trials_of(study, winner)}  # the latest
    for seed in seeds:
        trial = trials.get(seed)
        if trial is None:
            lacking.append("one is not queued")
        elif has_diverged(trial):
            diverged.append(seed)
        elif trial.state is TrialState.COMPLETE:
            lacking.append(f"the weights of trial {trial.number} are not on this machine")
        else:
            why = trial_record(trial).stop_reason or trial.state.name.lower()
            lacking.append(f"trial {trial.number}: {why}")
    return diverged, lacking


def trials_of(study: optuna.Study, winner: int) -> list[FrozenTrial]:
    """Return the replicates of one trial; the last rung of a ladder holds those of several."""
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial_record(trial).replicate_of in (None, winner)]


def weights_missing(trial: FrozenTrial) -> bool:
    """Return whether a complete trial's weights are on another machine or were deleted."""
    if trial.state is not TrialState.COMPLETE:
        return False
    return not Path(trial_record(trial).weights or "").is_file()
