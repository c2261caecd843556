"""The environment variables of bloodsearch, read when they are needed, never at import.

Those of torch and of the database drivers are not listed here.
"""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_STORAGE = "sqlite:///bloodsearch.db"  # a file in the current folder
STORAGE = "BLOODSEARCH_STORAGE"
"""Database URL, when --storage is not given."""
DATA = "BLOODSEARCH_DATA"
"""Folder with the data files, when --data-root is not given."""
CHECKPOINTS = "BLOODSEARCH_CHECKPOINTS"
"""Folder for checkpoints; default: beside an SQLite file, else bloodsearch-checkpoints here."""
ARTIFACTS = "BLOODSEARCH_ARTIFACTS"
"""Folder for the dashboard's pictures; default: beside an SQLite file, else bloodsearch-artifacts here."""
DASHBOARD_TOKEN = "BLOODSEARCH_DASHBOARD_TOKEN"
"""What visitors of `bloodsearch dashboard` must know; default: with --token a random one."""
WORKER_MB = "BLOODSEARCH_WORKER_MB"
"""Resident memory in MiB past which a worker is replaced between two trials; default 4096."""
LEASE_S = "BLOODSEARCH_LEASE_S"
"""Seconds without a heartbeat after which a worker is stale; default 60. All workers need the same value."""
KERNELS = "BLOODSEARCH_KERNELS"
"""Which compiled kernels train on a CPU: off, avx512, avx2 or generic; default: the best here."""
STATE_HOME = "XDG_STATE_HOME"
"""Folder of the user's state files; default ~/.local/state."""
CACHE_HOME = "XDG_CACHE_HOME"
"""Folder of the user's cache, which may be deleted at any time; default ~/.cache."""
OUTAGE_S = "BLOODSEARCH_OUTAGE_S"
"""Seconds that a worker waits for an unavailable database, and a command for a full server; default 300."""


def storage() -> str | None:
    """Return the database URL, or None if it is not set."""
    return os.environ.get(STORAGE) or None


def storage_url(given: str | None) -> str:
    """Return the URL `given`, else the environment's, else that of a file in the current folder."""
    if given is not None:
        return given  # an empty one is a mistake, not a request for the default
    return storage() or DEFAULT_STORAGE


def data_root() -> Path | None:
    """Return the folder with the data, or None if it is not set."""
    configured = os.environ.get(DATA)
    return Path(configured) if configured else None


def checkpoints() -> Path | None:
    """Return the folder for checkpoints, or None if it is not set."""
    configured = os.environ.get(CHECKPOINTS)
    return Path(configured) if configured else None


def artifacts() -> Path | None:
    """Return the folder for the dashboard's pictures, or None if it is not set."""
    configured = os.environ.get(ARTIFACTS)
    return Path(configured) if configured else None


def dashboard_token() -> str | None:
    """Return what visitors of the dashboard must know, or None if it is not set."""
    return os.environ.get(DASHBOARD_TOKEN) or None


def state_folder() -> Path | None:
    """Return the folder for files that outlive every database; None for a user without a home."""
    return _user_folder(STATE_HOME, Path(".local", "state"))


def cache_folder() -> Path | None:
    """Return the folder for what can be measured again; None for a user without a home."""
    return _user_folder(CACHE_HOME, Path(".cache"))


def worker_mb() -> float:
    """Return the memory limit of a worker in MiB."""
    return _number(WORKER_MB, 4096)


def lease_s() -> float:
    """Return the length of a lease in seconds."""
    return _number(LEASE_S, 60)


def outage_s() -> float:
    """Return how long to wait for the database, in seconds."""
    return _number(OUTAGE_S, 300)


def _user_folder(variable: str, default: Path) -> Path | None:
    """Return bloodsearch's folder in the one that `variable` names, else in `default` of the user's home."""
    configured = os.environ.get(variable)
    try:
        base = Path(configured) if configured else Path.home() / default
    except RuntimeError:
        return None
    return base / "bloodsearch"


def _number(name: str, default: float) -> float:
    """Return the variable's positive number. Any other text counts as not set."""
    try:
        value = float(os.environ.get(name, ""))
    except ValueError:
        return default
    return value if value > 0 else default
