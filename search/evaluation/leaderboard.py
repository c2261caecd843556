"""The leaderboard: a study's finished trials, best first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState


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
