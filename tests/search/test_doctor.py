"""The checks of `bloodsearch doctor`."""

from __future__ import annotations

import pytest

from bloodsearch.search import doctor


@pytest.mark.parametrize(
    ("url", "says"),
    [("nonsense", "the storage address is not a database URL"), ("mysql://h/x", "mysql is not")],
)
def test_an_error_that_a_user_can_mend_is_shown_without_its_class(url: str, says: str) -> None:
    (check,) = (check for check in doctor.run_checks(url, None) if check.name == "storage")
    assert check.ok is False
    assert check.finding.startswith(says)
