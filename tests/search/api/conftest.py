"""Library calls with simulated workers: real processes whose trials sleep instead of training."""

from __future__ import annotations

import pytest
from tests_support import SIMULATED_WORKER

from bloodsearch.search.data import synthetic
from bloodsearch.search.workers import launch


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that train nothing, and a synthetic data set of kilobytes."""
    monkeypatch.setattr(launch, "PROGRAM", ("-P", str(SIMULATED_WORKER)))
    make = synthetic.make_split
    monkeypatch.setattr(synthetic, "make_split", lambda split: make(split, 16))
