"""One thread for the training tests: results on a CPU depend on the number."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _one_thread(one_thread: None) -> None:
    """Results on a CPU depend on the number of threads."""
