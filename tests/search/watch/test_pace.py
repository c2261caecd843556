"""Seconds per epoch, and the time that is left."""

from __future__ import annotations

import pytest

from bloodsearch.search.watch.pace import Pace, Remaining, seconds_left

KEY = (1, "worker")


def test_the_first_epoch_counts_until_a_second_one_is_whole() -> None:
    pace = Pace()
    pace.note({KEY: 0}, 0.0)
    assert pace.seconds_per_epoch(KEY) is None
    pace.note({KEY: 1}, 9.0)  # five of them loaded data
    assert pace.seconds_per_epoch(KEY) == 9.0
    pace.note({KEY: 1}, 11.0)
    assert pace.seconds_per_epoch(KEY) == 9.0
    pace.note({KEY: 2}, 13.0)
    pace.note({KEY: 4}, 21.0)
    assert pace.seconds_per_epoch(KEY) == 4.0


def test_epochs_from_before_the_first_look_do_not_count() -> None:
    pace = Pace()
    pace.note({KEY: 30}, 0.0)
    pace.note({KEY: 31}, 2.0)
    assert pace.seconds_per_epoch(KEY) == 2.0
    pace.note({}, 3.0)
    pace.note({KEY: 31}, 4.0)
    assert pace.seconds_per_epoch(KEY) is None, "another worker may have it now"


@pytest.mark.parametrize(
    ("n_left", "running", "mean", "n_workers", "expected"),
    [
        (0, [], None, 0, 0.0),
        (4, [], None, 2, None),
        (4, [], 10.0, 0, None),
        (4, [], 10.0, 2, 20.0),
        (1, [], 10.0, 8, 10.0),
        (2, [Remaining(2, 4, None), Remaining(3, 4, None)], 8.0, 2, 4.0),
        (2, [Remaining(0, 40, 3.0), Remaining(4, 4, 1.0)], 8.0, 2, 120.0),
        (3, [Remaining(0, None, None)], 8.0, 1, 24.0),
    ],
)
def test_time_left(
    n_left: int,
    running: list[Remaining],
    mean: float | None,
    n_workers: int,
    expected: float | None,
) -> None:
    assert seconds_left(n_left, running, mean, n_workers) == expected
