"""Names of a study's parts: each is taken apart into what it was made of."""

from __future__ import annotations

import pytest

from bloodsearch.search import study_names as names


@pytest.mark.parametrize(
    ("name", "part"),
    [
        (names.finalists_name("a-b"), ("a-b", "finalists", None, None)),
        (names.rung_name("a-b", 2), ("a-b", "rung", None, None)),
        (names.finals_name("a-b"), ("a-b", "finals", None, None)),
        (names.replicates_name("a", 12), ("a", "replicates", 12, None)),
        (names.refits_name("a", 12), ("a", "refits", 12, None)),
        (names.refits_name("a", 12, 30), ("a", "refits", 12, 30)),
        (names.baselines_name("a-synthetic"), ("a-synthetic", "baselines", None, None)),
        (names.grid_name("a"), ("a", "grid", None, None)),
    ],
)
def test_a_part_is_taken_apart(name: str, part: tuple[object, ...]) -> None:
    assert names.take_apart(name) == part
    assert names.is_reserved(name)
    assert names.without_part(name) == part[0]


@pytest.mark.parametrize(
    "name",
    ["a", "a-synthetic", "final-2", "a-final-x", "a-final-2-more", "grid", "-grid", "a-grid-2"],
)
def test_other_names_are_free(name: str) -> None:
    assert names.take_apart(name) is None
    assert not names.is_reserved(name)
    assert names.without_part(name) == name


def test_names_stored_by_earlier_versions() -> None:
    assert names.default_name("demo", "synthetic") == "demo-synthetic"
    assert names.default_name("demo", None) == "demo"
    assert names.finalists_name("a") == "a-finalists"
    assert names.replicates_name("a", 3) == "a-final-3"
    assert names.refits_name("a", 3, 7) == "a-final-3-train-val-7"
    assert names.baselines_name("a") == "a-baselines"
    assert names.grid_name("a") == "a-grid"
