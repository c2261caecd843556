"""The database: opened, locked, retried after an outage; our tables and Optuna's."""
