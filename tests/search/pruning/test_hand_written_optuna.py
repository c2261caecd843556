"""The pruner in studies that a user's own Optuna code runs."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Literal

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from bloodsearch.search.pruning.pruner import FamilyPruner
from bloodsearch.studies.sections import Pruner

optuna.logging.set_verbosity(optuna.logging.WARNING)

Direction = Literal["minimize", "maximize"]

RULES = [
    Pruner(name="family", warmup_epochs=1, min_peers=4, audit=0.0),
    Pruner(name="forecast", warmup_epochs=1, min_peers=4, chance=0.05, top=0.1, audit=0.0),
]


def curve(end: float, epoch: int, n: int = 8) -> float:
    """A value that approaches `end`, the error halving with each epoch."""
    return end * (1 - math.pow(0.5, epoch * 6 / n))


def study_of(ends: list[float], direction: Direction = "maximize") -> optuna.Study:
    """A study with complete trials; in a minimizing one the values are errors, 1 - score."""
    study = optuna.create_study(direction=direction)
    for end in ends:
        values = {e: curve(end, e) for e in range(1, 9)}
        if direction == "minimize":
            values = {e: 1 - value for e, value in values.items()}
        study.add_trial(
            create_trial(state=TrialState.COMPLETE, value=values[8], intermediate_values=values)
        )
    return study


def pruned(pruner: FamilyPruner, study: optuna.Study, end: float, epochs: int = 4) -> bool:
    minimize = study.direction is optuna.study.StudyDirection.MINIMIZE
    values = {e: curve(end, e) for e in range(1, epochs + 1)}
    values = {e: 1 - value for e, value in values.items()} if minimize else values
    trial = create_trial(state=TrialState.RUNNING, intermediate_values=values)
    return pruner.prune(study, trial)


ENDS = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.92, 0.94]


@pytest.mark.parametrize("settings", RULES, ids=lambda rule: str(rule.name))
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_the_worst_trials_are_pruned_in_either_direction(
    settings: Pruner, direction: Direction
) -> None:
    pruner, study = FamilyPruner(settings), study_of(ENDS, direction)
    assert pruned(pruner, study, 0.3)
    assert not pruned(pruner, study, 0.96)


@pytest.mark.parametrize("settings", RULES, ids=lambda rule: str(rule.name))
def test_minimizing_an_error_decides_as_maximizing_one_minus_it(settings: Pruner) -> None:
    directions: tuple[Direction, ...] = ("maximize", "minimize")
    both = [(FamilyPruner(settings), study_of(ENDS, d)) for d in directions]
    for end in (0.2, 0.5, 0.65, 0.8, 0.87, 0.9, 0.95):
        for epoch in (1, 3, 8):
            first, second = (pruned(pruner, study, end, epoch) for pruner, study in both)
            assert first == second


def test_reason_of_a_minimizing_study_names_its_unit() -> None:
    trial = create_trial(state=TrialState.RUNNING, intermediate_values={1: 0.9, 2: 0.8})
    reason = FamilyPruner(RULES[0]).reason(study_of(ENDS, "minimize"), trial)
    assert reason is not None
    assert reason.startswith("best (as 1 - value) 0.2000 by epoch 2; below")


@pytest.mark.parametrize("settings", RULES, ids=lambda rule: str(rule.name))
def test_a_large_loss_is_minimized_too(settings: Pruner) -> None:
    def objective(trial: optuna.Trial) -> float:
        scale = trial.suggest_float("scale", 1, 100)
        for step in range(1, 7):
            trial.report(scale * (1 + 1 / step), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return scale * 7 / 6

    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(sampler=sampler, pruner=FamilyPruner(settings))
    study.optimize(objective, n_trials=40)
    assert study.best_params["scale"] == min(t.params["scale"] for t in study.trials)
    stopped = [t.params["scale"] for t in study.trials if t.state is TrialState.PRUNED]
    assert stopped
    assert min(stopped) > study.best_params["scale"]


@pytest.mark.parametrize("settings", RULES, ids=lambda rule: str(rule.name))
def test_one_pruner_serves_two_studies_without_mixing_them(settings: Pruner) -> None:
    pruner = FamilyPruner(settings)
    good, bad = study_of([0.9 + i / 200 for i in range(8)]), study_of([0.3] * 8)
    assert good._study_id == bad._study_id  # the same id in two storages
    assert pruned(pruner, good, 0.5)
    assert not pruned(pruner, bad, 0.5)
    same = optuna.create_study(direction="minimize", storage=good._storage)
    same.add_trials(study_of(ENDS, "minimize").trials)
    assert not pruned(pruner, same, 0.96)  # of the same storage, in the other direction


def objective(trial: optuna.Trial) -> float:
    end = trial.suggest_float("end", 0.1, 0.99)
    for epoch in range(1, 9):
        trial.report(curve(end, epoch), epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return curve(end, 8)


@pytest.mark.parametrize("settings", RULES, ids=lambda rule: str(rule.name))
def test_threads_share_a_pruner(settings: Pruner) -> None:
    for seed in range(3):
        sampler = optuna.samplers.RandomSampler(seed=seed)
        pruner = FamilyPruner(settings)
        study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
        study.optimize(objective, n_trials=120, n_jobs=4)
        assert len(study.trials) == 120


def from_zero(trial: optuna.Trial) -> float:
    """As many loops do: steps from 0, in hundreds, with a value missing."""
    end = trial.suggest_float("end", 0.1, 0.99)
    for step in range(8):
        trial.report(float("nan") if step == 3 else curve(end, step + 1), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return curve(end, 8)


def only_step_zero(trial: optuna.Trial) -> float:
    value = trial.suggest_float("end", 0.1, 0.99)
    trial.report(value, 0)
    assert not trial.should_prune()
    return value


def infinite(trial: optuna.Trial) -> float:
    end = trial.suggest_float("end", 0.1, 0.99)
    for step in range(1, 9):
        trial.report([curve(end, step), float("inf"), float("-inf")][step % 3], step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return end


@pytest.mark.parametrize("settings", RULES, ids=lambda rule: str(rule.name))
@pytest.mark.parametrize("target", [from_zero, only_step_zero, infinite])
def test_odd_steps_and_values_do_no_harm(
    settings: Pruner, target: Callable[[optuna.Trial], float]
) -> None:
    sampler = optuna.samplers.RandomSampler(seed=1)
    study = optuna.create_study(
        direction="maximize", sampler=sampler, pruner=FamilyPruner(settings)
    )
    study.optimize(target, n_trials=30)
    assert all(trial.state is not TrialState.FAIL for trial in study.trials)
    assert study.best_params["end"] == max(trial.params["end"] for trial in study.trials)


@pytest.mark.parametrize("settings", RULES, ids=lambda rule: str(rule.name))
def test_pruner_can_be_pickled_after_use(settings: Pruner) -> None:
    pruner, study = FamilyPruner(settings), study_of(ENDS)
    assert pruned(pruner, study, 0.3)
    copy = pickle.loads(pickle.dumps(pruner))
    assert pruned(copy, study, 0.3)
    assert not pruned(copy, study, 0.96)
