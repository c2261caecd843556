"""A study with made-up trials on the synthetic data."""

from __future__ import annotations

import optuna
import pytest
from report_support import MakeStudy, fake_trial
from tests_support import tiny_study

from bloodsearch.search.data.load import Dataset, load_dataset
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.study import create_or_resume


@pytest.fixture(scope="session")
def synthetic() -> Dataset:
    return load_dataset("synthetic")


@pytest.fixture
def _drawn_once(synthetic: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """The synthetic set takes seconds to draw."""
    monkeypatch.setattr("bloodsearch.search.report.gather.load_dataset", lambda *_: synthetic)


@pytest.fixture
def make_study(storage: Storage, synthetic: Dataset, _drawn_once: None) -> MakeStudy:
    """A study on the synthetic data with trials of the given values; None is a pruned one."""

    def make(values: list[float | None], **attrs: object) -> optuna.Study:
        fingerprint = synthetic.fingerprint
        study = create_or_resume(storage, "tiny", tiny_study(), fingerprint)
        for number, value in enumerate(values):
            fake_trial(study, number, value, **attrs)
        return study

    return make
