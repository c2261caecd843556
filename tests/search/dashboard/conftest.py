"""The dashboard reads one kind of database as it reads the other, so one is enough here."""

from __future__ import annotations

import pytest


@pytest.fixture
def storage_url(sqlite_url: str) -> str:
    return sqlite_url
