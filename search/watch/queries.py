"""The queries of one look at a study. Their cost does not grow with the number of finished trials."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa
from optuna.trial import FrozenTrial

from ..database.optuna_rows import reports_table
from ..database.storage import Storage
from ..records import trial_record
from ..sampling.space import planned_epochs
from ..study import StudyInfo


@dataclass(frozen=True, slots=True)
class Plan:
    """What does not change while a trial runs."""

    number: int
    family: str
    name: str
    """The baseline's name, or nothing."""
    of_trial: int | None
    epochs: int | None


def curves(storage: Storage, trial_ids: Collection[int]) -> dict[int, tuple[float, ...]]:
    """Return the values reported by these trials in the order of their epochs."""
    if not trial_ids:
        return {}
    r = reports_table.c
    query = sa.select(r.trial_id, r.intermediate_value).where(r.trial_id.in_(trial_ids))
    values = defaultdict[int, list[float]](list)
    with storage.engine.connect() as db:
        for trial_id, value in db.execute(query.order_by(r.trial_id, r.step)):
            values[trial_id].append(0.0 if value is None else value)
    return {trial_id: tuple(curve) for trial_id, curve in values.items()}


def plan_of(trial: FrozenTrial, study_info: StudyInfo) -> Plan | None:
    """Return what `trial` is going to do, None before its parameters are stored."""
    record = trial_record(trial)
    params = record.params or record.point or record.sampled
    family = str(record.family or params.get("arch") or "")
    if not family:
        return None
    final = study_info.kind in ("replicates", "refits")
    # on a rung all trainings of a family have one length
    own = {} if study_info.kind == "rung" else params
    return Plan(
        number=trial.number,
        family=family,
        name=record.baseline or "",
        of_trial=record.replicate_of,
        epochs=planned_epochs(own, family, study_info.study_file, final=final),
    )
