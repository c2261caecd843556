"""Splits are stratified, hold whole units, and are the same for the same seed."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bloodsearch.search.errors import DataError
from bloodsearch.search.importing.listing import SPLITS, Split
from bloodsearch.search.importing.splits import draw, units_of

FRACTIONS: dict[Split, float] = {"train": 0.7, "val": 0.1, "test": 0.2}


def drawn(labels: list[int], units: list[int], seed: int = 0) -> list[Split]:
    names = [f"{i}.png" for i in range(len(labels))]
    return draw(
        labels, units, names, FRACTIONS, seed, [f"class {i}" for i in range(9)][: max(labels) + 1]
    )


@pytest.mark.parametrize("n", [3, 7, 10, 33, 100])
def test_single_pictures_fill_each_class_exactly(n: int) -> None:
    labels = [i % 3 for i in range(3 * n)]
    counts = Counter(zip(labels, drawn(labels, list(range(3 * n))), strict=True))
    val, test = max(round(0.1 * n), 1), max(round(0.2 * n), 1)
    for label in range(3):
        assert [counts[label, split] for split in SPLITS] == [n - val - test, val, test]


def test_another_seed_draws_others() -> None:
    labels, units = [0, 1] * 50, list(range(100))
    assert drawn(labels, units, 1) == drawn(labels, units, 1) != drawn(labels, units, 2)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(12, 40))
def test_groups_of_several_classes_stay_whole(seed: int, n_classes: int, n_groups: int) -> None:
    rng = np.random.default_rng(seed)
    units = np.repeat(np.arange(n_groups), rng.integers(2, 12, n_groups)).tolist()
    labels = rng.integers(0, n_classes, len(units)).tolist()
    labels[:n_classes] = range(n_classes)
    try:
        splits = drawn(labels, units)
    except DataError:
        in_units = [
            len({u for u, c in zip(units, labels, strict=True) if c == k}) for k in range(n_classes)
        ]
        assert min(in_units) < 6  # only classes of few groups are refused
        return
    where: dict[int, set[Split]] = {}
    for unit, split in zip(units, splits, strict=True):
        where.setdefault(unit, set()).add(split)
    assert all(len(found) == 1 for found in where.values())
    assert {(c, s) for c, s in zip(labels, splits, strict=True)} == {
        (c, s) for c in range(n_classes) for s in SPLITS
    }


def test_many_groups_come_close_to_the_parts() -> None:
    rng = np.random.default_rng(0)
    units = np.repeat(np.arange(60), rng.integers(5, 40, 60)).tolist()
    labels = rng.integers(0, 4, len(units)).tolist()
    counts = Counter(drawn(labels, units))
    for split, part in FRACTIONS.items():
        assert abs(counts[split] / len(units) - part) < 0.02


def test_a_class_in_two_groups_is_refused() -> None:
    with pytest.raises(DataError, match="the class class 1 has 2 different pictures or groups"):
        drawn([0, 0, 0, 1, 1], [0, 1, 2, 3, 4])


def test_units_join_over_groups_and_pixels() -> None:
    groups = ["p", "q", "q", None, None, "r"]
    digests = [b"1", b"1", b"2", b"2", b"3", None]
    units = units_of(groups, digests)
    assert len(set(units[:4])) == 1
    assert len(set(units)) == 3
    assert len(set(units_of([None] * 3, [None] * 3))) == 3
