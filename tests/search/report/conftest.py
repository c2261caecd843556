"""Reports read through Optuna, so one kind of database is enough here."""

from __future__ import annotations

import pytest


@pytest.fixture
def storage_url(sqlite_url: str) -> str:
    return sqlite_url
