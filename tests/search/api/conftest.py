"""Library calls with simulated workers: real processes whose trials sleep instead of training."""

from __future__ import annotations

import functools
import sys

import pytest
from tests_support import SIMULATED_WORKER

from bloodsearch.search.api import training
from bloodsearch.search.data import synthetic
from bloodsearch.search.workers.supervisor import Supervisor


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that train nothing, and a synthetic data set of kilobytes."""
    program = (sys.executable, "-P", str(SIMULATED_WORKER))
    monkeypatch.setattr(training, "Supervisor", functools.partial(Supervisor, program=program))
    make = synthetic.make_split
    monkeypatch.setattr(synthetic, "make_split", lambda split: make(split, 16))
