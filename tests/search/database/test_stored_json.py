"""What bloodsearch stores as JSON is JSON: no NaN, no infinity."""

from __future__ import annotations

import math

import sqlalchemy as sa

from bloodsearch.search.database.optuna_rows import attributes_table, write_attrs
from bloodsearch.search.database.tables import ledger_table
from bloodsearch.search.evaluation.ledger import record_opening, record_result
from bloodsearch.search.workers.leases import Leases

VALUES = {"a": [1.5, math.nan, {"b": math.inf}], "c": -math.inf, "d": "NaN"}
STORED = '{"a": [1.5, null, {"b": null}], "c": null, "d": "NaN"}'


def test_attributes_of_a_trial_hold_null_for_nan(leases: Leases) -> None:
    trial = leases.study.ask()
    with leases.storage.engine.begin() as db:
        write_attrs(db, trial._trial_id, {"x": VALUES})
        assert db.execute(sa.select(attributes_table.c.value_json)).scalar_one() == STORED


def test_a_result_in_the_ledger_holds_null_for_nan(leases: Leases) -> None:
    storage = leases.storage
    opening = record_opening(
        storage, "tiny", trial=0, n_replicates=1, data_hash="0" * 32, forced=False
    )
    record_result(storage, opening, VALUES)
    with storage.engine.connect() as db:
        assert db.execute(sa.select(ledger_table.c.result_json)).scalar_one() == STORED
