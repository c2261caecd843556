"""Openings beside the data: other databases and study names do not start at zero."""

from __future__ import annotations

from pathlib import Path

import pytest

from bloodsearch.search.data.info import Fingerprint
from bloodsearch.search.evaluation.openings_file import append, count

REAL = Fingerprint("bloodmnist", "official", "a" * 32)
OTHER = Fingerprint("bloodmnist", "unofficial", "b" * 32)


FILE_NAME = "bloodmnist.openings.jsonl"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "bloodsearch"


def row(fingerprint: Fingerprint, n: int) -> dict[str, object]:
    return {"data_hash": fingerprint.content_hash, "opening": n}


def test_openings_are_counted_by_data(tmp_path: Path, state: Path) -> None:
    assert count(REAL, tmp_path) == 0
    for n in range(3):
        assert append(row(REAL, n), REAL, tmp_path) == tmp_path / FILE_NAME
    append(row(OTHER, 9), OTHER, tmp_path)
    assert (count(REAL, tmp_path), count(OTHER, tmp_path)) == (3, 1)


def test_an_opening_of_another_copy_of_the_data_counts(tmp_path: Path, state: Path) -> None:
    append(row(REAL, 1), REAL, tmp_path / "one")
    append(row(REAL, 2), REAL, tmp_path / "other")
    assert count(REAL, tmp_path / "one") == count(REAL, tmp_path / "third") == 2
    (state / FILE_NAME).unlink()
    assert count(REAL, tmp_path / "one") == 1


def test_a_folder_that_cannot_be_written_is_replaced_by_the_users_state(
    tmp_path: Path, state: Path
) -> None:
    data = tmp_path / "data"
    data.write_text("not a folder: nothing can be written below it, even by root")
    assert append(row(REAL, 1), REAL, data) == state / FILE_NAME
    assert count(REAL, data) == 1


def test_lines_that_are_damaged_cost_nothing(tmp_path: Path) -> None:
    append(row(REAL, 1), REAL, tmp_path)
    with (tmp_path / FILE_NAME).open("ab") as file:
        file.write(b'[]\n\xff\n{"data_hash": "aaa')
    assert count(REAL, tmp_path) == 1


def test_nothing_can_be_written_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(file))
    assert append(row(REAL, 1), REAL, file) is None
    assert count(REAL, file) == 0


def test_drawings_have_no_file(tmp_path: Path) -> None:
    synthetic = Fingerprint("synthetic", "synthetic", "c" * 32)
    assert append(row(synthetic, 1), synthetic, tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    assert count(synthetic, tmp_path) == 0
