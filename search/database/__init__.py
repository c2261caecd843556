"""The database: opened, locked, retried after an outage; the tables of bloodsearch and of Optuna."""
