"""Published figures are of sets that exist, of the paper's methods, and can be shown."""

from __future__ import annotations

import pytest

from bloodsearch.search.data import registry
from bloodsearch.search.data.published import published

METHODS = {"ResNet-18", "ResNet-18 (224)", "ResNet-50", "ResNet-50 (224)", "auto-sklearn", "AutoKeras",
           "Google AutoML Vision"}  # fmt: skip


@pytest.mark.parametrize("name", registry.names())
def test_the_cells_of_a_set(name: str) -> None:
    rows = published(name)
    assert set(rows) <= METHODS
    for row in rows.values():
        assert set(row) <= {"accuracy", "auc"}
        assert row
        # the AUC of a balanced task is the larger of the two
        assert 0.5 < row.get("accuracy", 0.51) <= row.get("auc", 0.99) < 1.0


def test_other_data_have_none() -> None:
    assert published("cells.npz") == published("pathmnist@64") == {}
