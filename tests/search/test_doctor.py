"""The checks of `bloodsearch doctor`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bloodsearch.models import kernels
from bloodsearch.search import doctor


@pytest.mark.parametrize(
    ("url", "says"),
    [("nonsense", "the storage address is not a database URL"), ("mysql://h/x", "mysql is not")],
)
def test_an_error_that_a_user_can_mend_is_shown_without_its_class(url: str, says: str) -> None:
    (check,) = (check for check in doctor.run_checks(url, None) if check.name == "storage")
    assert check.ok is False
    assert check.finding.startswith(says)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("switched off", "BLOODSEARCH_KERNELS is set"),
        ("old", "older than their sources; install bloodsearch again"),
        ("not compiled", "there was no C compiler"),
    ],
)
def test_why_there_are_no_kernels(
    what: str, says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(kernels.VARIABLE, raising=False)
    monkeypatch.setattr(kernels, "build_name", lambda: None)
    if what == "switched off":
        monkeypatch.setenv(kernels.VARIABLE, "off")
    elif what == "old":
        monkeypatch.setattr(kernels, "is_old", lambda name: True)
    else:
        monkeypatch.setattr(kernels, "_path", lambda name: tmp_path / name)
    (check,) = doctor._check_processor()
    assert says in check.finding
