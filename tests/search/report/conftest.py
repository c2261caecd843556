"""Reports read through Optuna, so one kind of database is enough here."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import pytest

from bloodsearch.search.data import synthetic


@pytest.fixture
def storage_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture(scope="module", autouse=True)
def _drawn_once() -> Iterator[None]:
    """Draw the synthetic set once for all reports of a file: it takes a second."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(synthetic, "make_split", functools.cache(synthetic.make_split))
        yield
