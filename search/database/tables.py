"""The tables of bloodsearch, beside Optuna's in the same database."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()
workers_table = sa.Table(
    "bloodsearch_workers",
    metadata,
    sa.Column("worker_id", sa.String(64), primary_key=True),
    sa.Column("study_id", sa.Integer, nullable=False, index=True),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("pid_started", sa.Float, nullable=False),
    sa.Column("boot_id", sa.String(64), nullable=False),
    sa.Column("device", sa.String(64), nullable=False),
    sa.Column("beat", sa.Float, nullable=False),
    sa.Column("drain", sa.Boolean, nullable=False, default=False),
)
leases_table = sa.Table(
    "bloodsearch_leases",
    metadata,
    sa.Column("trial_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("study_id", sa.Integer, nullable=False, index=True),
    sa.Column("worker_id", sa.String(64), index=True),
    sa.Column("deaths", sa.Integer, nullable=False, default=0),
)
ledger_table = sa.Table(
    "bloodsearch_ledger",
    metadata,
    sa.Column("opening", sa.Integer, primary_key=True),
    sa.Column("study_name", sa.String(120), nullable=False, index=True),
    sa.Column("trial", sa.Integer, nullable=False),
    sa.Column("n_replicates", sa.Integer, nullable=False),
    sa.Column("data_hash", sa.String(64), nullable=False),
    sa.Column("opened_at", sa.String(32), nullable=False),
    sa.Column("opened_by", sa.String(255), nullable=False),
    sa.Column("forced", sa.Boolean, nullable=False),
    sa.Column("version", sa.String(32), nullable=False),
    sa.Column("result_json", sa.Text),
)


# Every claim counts the study's trials by state. Without an index that covers the count a claim reads
# all rows. Optuna does not notice the index.
STATE_INDEX = sa.text(
    "CREATE INDEX IF NOT EXISTS bloodsearch_trials_by_state ON trials (study_id, state, trial_id)"
)


def create_tables(engine: sa.Engine) -> None:
    """Create the tables and the index if they are missing. Call it under the storage's lock."""
    metadata.create_all(engine)
    with engine.begin() as db:
        db.execute(STATE_INDEX)
