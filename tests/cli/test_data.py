"""`data import` and `data describe`, as a user sees them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hostile_pictures import splits
from PIL import Image

from bloodsearch.search.cli import main


def run(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(list(args))
    out, err = capsys.readouterr()
    assert not ended.value.code, err
    return out


@pytest.fixture
def imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    """A file with a copy and an empty picture across the splits, and what its import printed."""
    source = splits(tmp_path)
    copied = (source / "train" / "a" / "0.png").read_bytes()
    (source / "val" / "a" / "0.png").write_bytes(copied)
    Image.new("RGB", (16, 16), (7, 7, 7)).save(source / "train" / "b" / "flat.png")
    out = tmp_path / "cells.npz"
    return out, run(capsys, "data", "import", str(source), "--out", str(out))


def test_the_import_says_what_it_saw(imported: tuple[Path, str]) -> None:
    out, said = imported
    lines = said.splitlines()
    assert lines[0] == (
        "19 pictures of 16 x 12 pixels to 16 x 16: the largest square in the centre, resized to 28 x 28"
    )
    assert lines[1] == "splits: given"
    assert ["all", "7", "6", "6"] in [line.split() for line in lines]
    for words in ("one colour only: 1 (train/b/flat.png)", "train/a/0.png and val/a/0.png"):
        assert words in said
    assert lines[-1].startswith(f"{out}, MD5 ")


def test_describe_checks_the_file_and_draws_it(
    imported: tuple[Path, str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out, _ = imported
    picture = tmp_path / "classes.svg"
    said = run(capsys, "data", "describe", "--dataset", str(out), "--picture", str(picture))
    for words in (
        "cells (own data), content hash ",
        "train 7, val 6, test 6 images of 28 x 28 x 3",
        "* the same pixels are in both splits: 1 pair (train and val image ",
        "* 1 train images have one colour only (image ",
        "splits at the import: given",
        "across all three splits, the import saw 1 copies and 0 look-alikes",
        "the test split is sealed",
    ):
        assert words in said
    assert "validation" in picture.read_text()
    assert not list(tmp_path.glob(".part*"))


def test_describe_as_json(imported: tuple[Path, str], capsys: pytest.CaptureFixture[str]) -> None:
    found: dict[str, Any] = json.loads(
        run(capsys, "data", "describe", "--dataset", str(imported[0]), "--json")
    )
    assert found["class_counts"] == {"train": [3, 4], "val": [3, 3]}
    assert len(found["same_across"]) == 1
    assert found["import"]["class_counts"]["test"] == [3, 3]
    assert len(found["findings"]) == 2


def test_the_import_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = splits(tmp_path), tmp_path / "x.npz"
    found = json.loads(run(capsys, "data", "import", str(source), "--out", str(out), "--json"))
    assert found["n_images"] == {"train": 6, "val": 6, "test": 6}
    assert found["shape"] == [28, 28, 3]
    assert found["classes"] == ["a", "b"]
