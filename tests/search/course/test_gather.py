"""A course report reads its replicates, and names those that have no score."""

from __future__ import annotations

import pytest
from report_support import fake_trial
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.course import gather as course_gather
from bloodsearch.search.course.page import build_course
from bloodsearch.search.data.load import Dataset
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.study import create_or_resume

BASELINES = [
    {"name": name, "params": {"arch": arch, "optimizer": "adam", "lr": 1e-3, size: 4}}
    for name, arch, size in (("B-mlp-1", "mlp", "mlp_width"), ("B-cnn-1", "cnn", "cnn_width"))
]


@pytest.fixture
def storage_url(sqlite_url: str) -> str:
    return sqlite_url


def test_diverged_replicates_are_named(
    storage: Storage, synthetic: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A configuration whose every seed diverged was missing without a word."""
    monkeypatch.setattr("bloodsearch.search.report.gather.load_dataset", lambda *_: synthetic)
    file = tiny_study(baselines=BASELINES)
    study = create_or_resume(storage, "b-baselines", file, FINGERPRINT, kind="replicates")
    fake_trial(study, 1, 0.9, baseline="B-cnn-1")
    fake_trial(study, 2, None, baseline="B-cnn-1", stop_reason="diverged: loss nan")
    fake_trial(study, 1, None, baseline="B-mlp-1", stop_reason="diverged: loss nan")
    fake_trial(study, 2, None, baseline="B-mlp-1", stop_reason="diverged: loss nan")
    course = course_gather.gather_course(storage, "report_b", "b", None)
    assert course.diverged == {"B-cnn-1": 1, "B-mlp-1": 2}
    assert list(course.configurations) == ["B-cnn-1"]
    warnings = build_course(storage, "report_b", "b", None).sections[0].warnings
    assert "B-mlp-1: 2 replicates diverged and have no score." in warnings
    assert "B-cnn-1: 1 replicate diverged and has no score." in warnings
