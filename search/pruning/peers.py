"""Finished trials as the pruner needs them, each told once."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import optuna
import sqlalchemy as sa
from numpy.typing import NDArray
from optuna.trial import TrialState

from ..database.optuna_rows import (
    FINITE_REPORT,
    UNFINISHED,
    attributes_table,
    reports_table,
    trials_table,
)
from ..records import ending_of, trial_record

_STATES = (TrialState.COMPLETE, TrialState.PRUNED)
_ATTRIBUTES = ("family", "train_losses", "val_losses", "ending", "stop_reason")


Losses = tuple[float, float]
"""Training and validation loss of an epoch."""


def losses_at(
    epoch: int, train_losses: list[float] | None, val_losses: list[float] | None
) -> Losses | None:
    """The losses of an epoch from those by epoch; None where there are none."""
    if (
        not train_losses
        or not val_losses
        or not 0 < epoch <= min(len(train_losses), len(val_losses))
    ):
        return None
    return train_losses[epoch - 1], val_losses[epoch - 1]


@dataclass(frozen=True, slots=True)
class Peer:
    """A finished trial: its family, whether it is complete, its reports by epoch, and its losses.

    Losses are a complete trial's only: a pruned one's end is unknown, so that nothing is learned from them.
    """

    family: str
    complete: bool
    values: dict[int, float]
    train_losses: list[float] | None = None
    val_losses: list[float] | None = None

    def best_so_far(self, length: int) -> NDArray[np.float64]:
        """Best value up to each epoch, shape (length,): NaN before the first report, then carried on."""
        values = np.full(length, np.nan)
        for epoch, value in self.values.items():
            if 1 <= epoch <= length:
                values[epoch - 1] = value
        found: NDArray[np.float64] = np.fmax.accumulate(values)
        return found

    def losses_at(self, epoch: int) -> Losses | None:
        """Training and validation loss of `epoch`, of its last one past its end; None if unknown."""
        return losses_at(min(epoch, max(self.values)), self.train_losses, self.val_losses)


class Peers(Protocol):
    """Where a pruner learns of finished trials. Models that could not be trained are not among them."""

    def new(self, study: optuna.Study) -> list[Peer]:
        """Return the trials that finished since the last call."""
        ...


class StudyPeers:
    """Peers of a study in any storage, through Optuna."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def new(self, study: optuna.Study) -> list[Peer]:
        trials = study.get_trials(deepcopy=False, states=_STATES)
        new = [trial for trial in trials if trial.number not in self._seen]
        self._seen.update(trial.number for trial in new)
        return [
            Peer(
                str(record.family),
                record.state == "complete",
                record.reports,
                record.train_losses,
                record.val_losses,
            )
            for record in map(trial_record, new)
            if not record.ending.untrained
        ]


class TablePeers:
    """Peers of a study in a database, read past those known already.

    Optuna lists, sorts and copies all trials at each look: 10 ms with 10,000 trials, this 1 ms.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._seen: set[int] = set()
        self._floor = 0
        """All trials below this id are finished and known."""

    def new(self, study: optuna.Study) -> list[Peer]:
        t, a, r = trials_table.c, attributes_table.c, reports_table.c
        ours = (t.study_id == study._study_id) & (t.trial_id >= self._floor)
        with self._engine.connect() as db:
            # before the finished ones, so that none can end between the two looks unseen
            floor, last = db.execute(
                sa.select(
                    sa.select(sa.func.min(t.trial_id))
                    .where(ours, t.state.in_(UNFINISHED))
                    .scalar_subquery(),
                    sa.select(sa.func.max(t.trial_id)).where(ours).scalar_subquery(),
                )
            ).one()
            query = sa.select(t.trial_id, t.state).where(ours, t.state.in_(_STATES))
            found = {row[0]: row[1] for row in db.execute(query)}
            new = [trial_id for trial_id in found if trial_id not in self._seen]
            if not new:
                return []
            first = min(new)
            described = sa.select(a.trial_id, a.key, a.value_json).join(
                trials_table, t.trial_id == a.trial_id
            )
            described = described.where(ours, a.trial_id >= first, a.key.in_(_ATTRIBUTES))
            attrs: defaultdict[int, dict[str, Any]] = defaultdict(dict)
            for trial_id, key, value in db.execute(described):
                attrs[trial_id][key] = json.loads(value)
            reports = sa.select(r.trial_id, r.step, r.intermediate_value).join(
                trials_table, t.trial_id == r.trial_id
            )
            finite = r.intermediate_value_type == FINITE_REPORT
            values: defaultdict[int, dict[int, float]] = defaultdict(dict)
            reports = reports.where(ours, r.trial_id >= first, finite)
            for trial_id, step, value in db.execute(reports):
                values[trial_id][step] = value
        self._floor = last + 1 if floor is None else floor
        self._seen = {trial_id for trial_id in self._seen | set(found) if trial_id >= self._floor}
        return [
            Peer(
                str(attrs[trial_id].get("family")),
                found[trial_id] is TrialState.COMPLETE,
                values[trial_id],
                attrs[trial_id].get("train_losses"),
                attrs[trial_id].get("val_losses"),
            )
            for trial_id in new
            if not ending_of(found[trial_id].name.lower(), attrs[trial_id])[0].untrained
        ]
