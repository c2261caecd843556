"""Finished trials as the pruner needs them, each told once."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Protocol

import optuna
import sqlalchemy as sa
from optuna.trial import TrialState

from search.optuna_rows import (
    FINITE_REPORT,
    UNFINISHED,
    attributes_table,
    reports_table,
    trials_table,
)

_STATES = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, slots=True)
class Peer:
    """A finished trial: its family, whether it is complete, and its reports by epoch."""

    family: str
    complete: bool
    values: dict[int, float]


class Peers(Protocol):
    """Where a pruner learns of finished trials."""

    def new(self, study: optuna.Study) -> list[Peer]:
        """The trials that finished since the last call."""
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
                str(t.user_attrs.get("family")),
                t.state is TrialState.COMPLETE,
                t.intermediate_values,
            )
            for t in new
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
            families = sa.select(a.trial_id, a.value_json).join(
                trials_table, t.trial_id == a.trial_id
            )
            families = families.where(ours, a.trial_id >= first, a.key == "family")
            family = {row[0]: row[1] for row in db.execute(families)}
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
                json.loads(family.get(trial_id, '"None"')),
                found[trial_id] is TrialState.COMPLETE,
                values[trial_id],
            )
            for trial_id in new
        ]
