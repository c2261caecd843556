"""The ladder: from many short trainings few go on to longer ones, and the last rung is the final training.

    search (rung 1) -> NAME-rung-2 -> ... -> NAME-finals

A training of a few epochs ranks configurations wrongly for a long one, however often it is repeated. So each
rung trains the best of the rung below for more epochs, as complete schedules with a fresh seed. On the last
rung the finalists are trained as the final evaluation trains the winner, with the replicates' own seeds. The
worse half leaves after each seed (sequential halving; Karnin, Koren, Somekh 2013), and the winner's trainings
are its replicates: the test split had no part in any choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from ...studies import Ladder, StudyFile, parse_study
from ...studies.sections import Rung
from ..database.storage import Storage
from ..errors import RefusedError
from ..records import best_trial, trial_record
from ..sampling.space import Params
from ..seeds import derive_seed, replicate_seeds
from ..study import StudyInfo, create_or_resume, info
from ..study_names import finals_name, rung_name
from .finalists import (
    N_ATTEMPTS,
    Finalist,
    Prefer,
    Raced,
    best_with_kept,
    choose,
    clearly_worse,
    gather,
    last_reason,
    queue_seed,
)
from .long_trainings import long_file, long_point
from .selection import queue_replicates, trials_of

Train = Callable[[optuna.Study, str], None]
"""Trains what is queued in a study; the text names one training in events."""


def n_entrants(file: StudyFile) -> int:
    """Return how many of the search's best trials climb the ladder of `file`."""
    rungs = file.rungs()
    return rungs[0].trials if rungs else (file.ladder or Ladder()).finalists


def survivors(finalists: int, n_replicates: int) -> list[int]:
    """Return how many finalists the last rung trains with each seed; the winner gets all of them."""
    n_alive = [finalists]
    while len(n_alive) < n_replicates:
        n_alive.append(_half(n_alive[-1]))
    return n_alive


def rounds(finalists: int, n_replicates: int) -> list[int]:
    """Return how many trainings of the last rung go on at the same time, round by round.

    Each round waits for the one before. Once one finalist is left, its other seeds train together.
    """
    counts = survivors(finalists, n_replicates)
    n_contested = max(1, sum(n > 1 for n in counts))
    alone = len(counts) - n_contested
    return counts[:n_contested] + ([alone] if alone else [])


def n_trainings(finalists: int, n_replicates: int) -> int:
    """Return how many final trainings the last rung takes, the winner's replicates included."""
    return sum(survivors(finalists, n_replicates))


def climb(
    storage: Storage,
    study: optuna.Study,
    entrants: list[FrozenTrial],
    *,
    n_replicates: int,
    prefer: Prefer,
    train: Train,
) -> Raced:
    """Train `entrants` up the ladder and return the last rung with its winner.

    Every training is a trial of the rung's study. Earlier ones are kept, so an interrupted climb is resumed
    and decides as if it had not been interrupted. Stores the choice as the study's `selection`.

    Args:
        storage: The open storage.
        study: The search.
        entrants: Complete trials of the search, best first; the first rung takes as many as it trains.
        n_replicates: Final trainings of the winner.
        prefer: Which of the last finalists wins.
        train: Trains what is queued in a study.

    Raises RefusedError when no training of a rung came to its end.
    """
    study_info = info(study)
    ladder = study_info.study_file.ladder or Ladder()
    best, rows = entrants, list[dict[str, Any]]()
    for number, rung in enumerate(study_info.study_file.rungs(), start=2):
        arena = _arena(storage, study_info, rung, number)
        entering = best_with_kept(best, rung.trials, ladder.keep)
        points = {trial.number: long_point(study_info.study_file, trial) for trial in entering}
        best, row = _climb_one(storage, arena, entering, points, number, train)
        rows.append(row)
    finalists = best_with_kept(best, ladder.finalists, ladder.keep)
    finals = _finals(storage, study_info, finalists, n_replicates, prefer, train)
    raced = replace(finals, rungs=rows, is_ladder=True)
    study.set_user_attr("selection", raced.as_dict())
    return raced


def rung_file(file: StudyFile, rung: Rung) -> StudyFile:
    """Return `file` with the epochs of a rung for those of a trial, and nothing that stops a training."""
    data = long_file(file).model_dump(mode="json")
    data["training"] |= {"epochs": rung.epochs, "patience": 0, "min_epochs": 0}
    data |= {"ladder": None, "pruner": {"name": "none"}}
    if file.space:  # without a space the baselines, which no rung queues, say what can be trained
        data["baselines"] = []
        if file.search.sampler == "baselines":
            data["search"]["sampler"] = "random"  # a study of baselines needs some
    return parse_study(data, file.name)


def _arena(storage: Storage, study_info: StudyInfo, rung: Rung, number: int) -> optuna.Study:
    return create_or_resume(
        storage,
        rung_name(study_info.name, number),
        rung_file(study_info.study_file, rung),
        study_info.fingerprint,
        kind="rung",
    )


def _climb_one(
    storage: Storage,
    arena: optuna.Study,
    trials: list[FrozenTrial],
    points: Mapping[int, Params],
    number: int,
    train: Train,
) -> tuple[list[FrozenTrial], dict[str, Any]]:
    """Train `trials` once each. Return those that came to a value, best first, and the rung's record."""
    seed = derive_seed(info(arena).study_file.search.seed, "rung", number)
    for _ in range(N_ATTEMPTS):
        if queue_seed(storage, arena, trials, seed, points):
            train(arena, f"rung-{number} trial")
    standing = gather(arena, trials, [seed])
    if not standing:
        raise RefusedError(
            f"no training of {arena.study_name} came to its end; {last_reason(arena)}"
        )
    by_number = {trial.number: trial for trial in trials}
    row = {
        "study": arena.study_name,
        "values": [{"trial": f.trial, "value": f.mean} for f in standing],
    }
    return [by_number[f.trial] for f in standing], row


def _finals(
    storage: Storage,
    study_info: StudyInfo,
    trials: list[FrozenTrial],
    n_replicates: int,
    prefer: Prefer,
    train: Train,
) -> Raced:
    """Train the finalists at the final length; after each seed the worse half leaves."""
    arena = create_or_resume(
        storage,
        finals_name(study_info.name),
        long_file(study_info.study_file),
        study_info.fingerprint,
        kind="replicates",
    )
    seeds = replicate_seeds(study_info.study_file, n_replicates)
    alive, standing = trials, list[Finalist]()
    for n_seeds in range(1, len(seeds) + 1):
        for _ in range(N_ATTEMPTS):
            for trial in alive:
                queue_replicates(storage, arena, trial, seeds[:n_seeds], needs_weights=False)
            if _is_unfinished(arena, alive):
                train(arena, "finalist")
        standing = gather(arena, trials, seeds[:n_seeds])
        ranked = [f.trial for f in standing if f.trial in {t.number for t in alive}]
        if not ranked:
            raise RefusedError(
                f"no finalist of {study_info.name} was trained to its end; {last_reason(arena)}"
            )
        kept = better_half(ranked)
        if len(kept) == 1 or n_seeds == len(seeds):
            break
        alive = [trial for trial in alive if trial.number in kept]
    raced = choose(standing, set(ranked), prefer)
    best = next(f for f in standing if f.trial in ranked)
    # the worse half left by its place, and not because it was clearly worse
    near = {f.trial for f in standing if not clearly_worse(f, best, raced.sd)} - set(ranked)
    undecided = [f.trial for f in standing if f.trial in near.union(raced.undecided)]
    return replace(raced, undecided=undecided)


def better_half(ranked: list[int]) -> list[int]:
    """Return the trials that get another seed, of those ranked best first: half of them, at least one."""
    return ranked[: _half(len(ranked))]


def _half(n: int) -> int:
    return max(1, n // 2)


def _is_unfinished(arena: optuna.Study, trials: Sequence[FrozenTrial]) -> bool:
    return any(
        trial.state in (TrialState.WAITING, TrialState.RUNNING)
        for finalist in trials
        for trial in trials_of(arena, finalist.number)
    )


def rung_rows(storage: Storage, study: optuna.Study) -> list[dict[str, Any]]:
    """Return the study's ladder as rows of data, the search first and the final trainings last.

    A row has `rung`, `study`, `epochs` (by family, or one number), `trials` (configurations asked for), the
    counts `complete`, `running`, `waiting` and `failed`, and `best_value`. Counts are None where the rung's
    study does not exist yet. Without a ladder the list is empty.
    """
    study_info = info(study)
    file = study_info.study_file
    if study_info.kind != "search" or file.ladder is None:
        return []
    rungs = [(study.study_name, file.training.epochs, study_info.n_trials)]
    for number, rung in enumerate(file.rungs(), start=2):
        rungs.append((rung_name(study.study_name, number), rung.epochs, rung.trials))
    rungs.append((finals_name(study.study_name), file.training.final_epochs, file.ladder.finalists))
    stored = optuna.get_all_study_names(storage.optuna)
    rows = []
    for number, (name, epochs, n_trials) in enumerate(rungs, start=1):
        row: dict[str, Any] = {"rung": number, "study": name, "epochs": epochs, "trials": n_trials}
        rows.append(row | (_counts(storage, name) if name in stored else _NO_COUNTS))
    return rows


_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
    "running": TrialState.RUNNING,
    "waiting": TrialState.WAITING,
}
_NO_COUNTS: dict[str, Any] = dict.fromkeys((*_STATES, "best_value", "best_trial"))


def _counts(storage: Storage, name: str) -> dict[str, Any]:
    """Return the counts of a rung's study and its best value, with the search's number of that trial."""
    trials = optuna.load_study(study_name=name, storage=storage.optuna).get_trials(deepcopy=False)
    counts = {
        word: sum(trial.state is state for trial in trials) for word, state in _STATES.items()
    }
    best = best_trial(trials)
    if best is None:
        return {**counts, "best_value": None, "best_trial": None}
    of = trial_record(best).replicate_of
    return {**counts, "best_value": best.value, "best_trial": best.number if of is None else of}
