"""The leaderboard: a study's finished trials, best first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from ..pruning.words import short_reason
from ..records import trial_record


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
    replicate_of: int | None = None
    """The search's trial that a finalist or a replicate repeats."""
    seed: int | None = None

    @property
    def short_end(self) -> str:
        """Return how a trial that is not complete ended, in a few words."""
        ending, _, detail = self.stop_reason.partition(": ")
        if self.state == "pruned":
            reason = short_reason(detail or ending)
            return (
                f"pruned at epoch {self.epochs}: {reason}"
                if ending == "pruned"
                else (short_reason(self.stop_reason))
            )
        return f"failed: {short_reason(self.stop_reason)}"


def standing(trial: FrozenTrial) -> Standing:
    """Return what the leaderboard shows of `trial`."""
    record = trial_record(trial)
    return Standing(
        number=trial.number,
        value=trial.value,
        state=record.state,
        params=record.shown_params,
        epochs=len(record.reports) if record.epochs is None else record.epochs,
        seconds=round(record.seconds, 2),
        family=record.family or "",
        baseline=record.baseline,
        n_parameters=record.n_parameters,
        stop_reason=record.stop_reason,
        replicate_of=record.replicate_of,
        seed=record.seed,
    )


def leaderboard(study: optuna.Study, top: int | None = None) -> list[Standing]:
    """Return the `top` finished trials: complete ones by value, then pruned ones by their last report."""
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    trials = study.get_trials(deepcopy=False, states=states)
    order = sorted(
        trials,
        key=lambda t: (t.state is not TrialState.COMPLETE, -(t.value or 0.0), t.number),
    )
    return [standing(trial) for trial in order[:top]]
