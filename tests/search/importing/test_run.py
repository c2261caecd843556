"""Pictures become a data set: the right pixels, whole groups, the same bytes, or nothing at all."""

from __future__ import annotations

import hashlib
import io
import json
import resource
import signal
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hostile_pictures import cells, picture, splits, table
from PIL import Image

from bloodsearch import UsageError, import_images
from bloodsearch.search.data.load import load_dataset
from bloodsearch.search.errors import DataError
from bloodsearch.search.images.preparation import Preparation
from bloodsearch.search.images.read import read_image
from bloodsearch.search.importing import archive


def arrays(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arrays of a file and its description."""
    with np.load(path, allow_pickle=False) as file:
        read = dict(file)
    return read, json.loads(read.pop("info").tobytes())


def test_folders_become_arrays(tmp_path: Path) -> None:
    source = cells(tmp_path, n=10)
    result = import_images(source, out=tmp_path / "x.npz", size=12, crop=10)
    read, info = arrays(tmp_path / "x.npz")
    assert {k: v.shape for k, v in read.items()} == {
        "train_images": (14, 12, 12, 3), "train_labels": (14, 1),
        "val_images": (2, 12, 12, 3), "val_labels": (2, 1),
        "test_images": (4, 12, 12, 3), "test_labels": (4, 1),
    }  # fmt: skip
    assert result.n_images == {"train": 14, "val": 2, "test": 4}
    assert all(array.dtype == np.uint8 for array in read.values())
    assert info["classes"] == ["a", "b"]
    assert (info["crop"], info["title"], info["seed"]) == (10, "cells", 0)
    # each picture is in the file once, as `predict` would prepare it, with its folder's label
    rule = Preparation(12, 10, 3, 8)
    expected = sorted(
        (read_image(path, rule).image.tobytes(), "ab".index(path.parent.name))  # type: ignore[union-attr]
        for path in source.rglob("*.png")
    )
    stored = sorted(
        (image.tobytes(), int(label[0]))
        for s in ("train", "val", "test")
        for image, label in zip(read[f"{s}_images"], read[f"{s}_labels"], strict=True)
    )
    assert stored == expected


def test_the_same_pictures_give_the_same_bytes(tmp_path: Path) -> None:
    cells(tmp_path / "one")
    (tmp_path / "two").mkdir()
    for path in sorted(
        (tmp_path / "one").rglob("*.png"), reverse=True
    ):  # another order on the disk
        copy = tmp_path / "two" / path.relative_to(tmp_path / "one")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    digests = {}
    for folder, seed in (("one", 0), ("two", 0), ("one", 1)):
        out = tmp_path / f"{folder}{seed}.npz"
        result = import_images(tmp_path / folder / "cells", out=out, seed=seed)
        assert hashlib.md5(out.read_bytes()).hexdigest() == result.md5
        digests[out.stem] = result.md5
    assert digests["one0"] == digests["two0"] != digests["one1"]


def test_a_file_written_in_parts_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = cells(tmp_path)
    whole = import_images(source, out=tmp_path / "x.npz").md5
    monkeypatch.setattr(archive, "PART", 3)
    assert import_images(source, out=tmp_path / "y.npz").md5 == whole


def test_patients_and_copies_stay_together(tmp_path: Path) -> None:
    for patient in range(12):
        for i in range(4):
            picture(tmp_path / "cells" / "ab"[i % 2] / f"p{patient}-{i}.png")
    # the same picture of two patients: their groups become one
    copied = (tmp_path / "cells" / "a" / "p3-0.png").read_bytes()
    (tmp_path / "cells" / "a" / "p7-0.png").write_bytes(copied)
    out = tmp_path / "x.npz"
    result = import_images(tmp_path / "cells", out=out, size=16, group_pattern=r"p(\d+)-")
    assert "whole groups" in result.splits
    assert result.same_across == ()
    assert result.same_within == (("a/p3-0.png", "a/p7-0.png"),)
    where: dict[str, set[str]] = defaultdict(set)
    read, info = arrays(out)
    by_pixels = {
        image.tobytes(): split
        for split in ("train", "val", "test")
        for image in read[f"{split}_images"]
    }
    for path in (tmp_path / "cells").rglob("*.png"):
        image = read_image(path, Preparation(16, "square", 3, 8)).image
        assert image is not None
        where[path.name.split("-")[0]].add(by_pixels[image.tobytes()])
    assert {len(found) for found in where.values()} == {1}
    assert where["p3"] == where["p7"]
    # cross-validation of the training and validation pictures keeps them together by the same numbers
    by_group = defaultdict(set)
    for split in ("train", "val"):
        for image, group in zip(read[f"{split}_images"], read[f"{split}_groups"], strict=True):
            by_group[image.tobytes()].add(int(group))
    numbers: dict[str, set[int]] = defaultdict(set)
    for path in (tmp_path / "cells").rglob("*.png"):
        image = read_image(path, Preparation(16, "square", 3, 8)).image
        assert image is not None
        numbers[path.name.split("-")[0]] |= by_group.get(image.tobytes(), set())
    kept = [found for found in numbers.values() if found]
    assert {len(found) for found in kept} == {1}
    n_units = len(set.union(*kept))
    assert n_units == len(kept) - (numbers["p3"] == numbers["p7"] != set())
    assert info["groups"] == n_units == load_dataset(str(out)).n_groups


def test_pictures_on_their_own_have_no_groups(tmp_path: Path) -> None:
    import_images(cells(tmp_path), out=tmp_path / "x.npz")
    read, info = arrays(tmp_path / "x.npz")
    assert "groups" not in info
    assert not [name for name in read if name.endswith("_groups")]


def test_given_splits_are_kept(tmp_path: Path) -> None:
    source = splits(tmp_path)
    copied = (source / "train" / "a" / "0.png").read_bytes()
    (source / "test" / "a" / "0.png").write_bytes(copied)
    result = import_images(source, out=tmp_path / "x.npz")
    assert result.splits == "given"
    assert set(result.class_counts.values()) == {(3, 3)}
    assert result.same_across == (("train/a/0.png", "test/a/0.png"),)
    assert any("scores are too good" in note for note in result.notes())


def test_validation_is_drawn_from_training_if_it_is_not_given(tmp_path: Path) -> None:
    cells(tmp_path, inside="train", n=16)
    cells(tmp_path, inside="test", n=5)
    result = import_images(tmp_path / "cells", out=tmp_path / "x.npz")
    assert result.class_counts == {"train": (14, 14), "val": (2, 2), "test": (5, 5)}
    assert result.splits.startswith("test given, validation drawn")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_with_any_delimiter_and_a_mark(tmp_path: Path, delimiter: str) -> None:
    cells(tmp_path, n=6)
    rows = [
        ("Label", "extra", "PATH", "group"),
        *((f"class {c}", "x", f"./{c}/{i}.png", f"g{i}") for c in "ab" for i in range(6)),
    ]
    text = "\r\n".join(delimiter.join(row) for row in rows) + "\r\n\r\n"
    path = tmp_path / "list.csv"
    path.write_text("\ufeff" + text, encoding="utf-8", newline="")
    result = import_images(path, out=tmp_path / "x.npz", images=tmp_path / "cells")
    assert result.classes == ("class a", "class b")
    assert sum(result.n_images.values()) == 12
    counts = {split: set(n) for split, n in result.class_counts.items()}
    assert all(len(n) == 1 for n in counts.values())  # each group has one of each class


def test_absolute_paths_inside_the_folder_are_fine(tmp_path: Path) -> None:
    rows = [f"{tmp_path}/cells/{c}/{i}.png,{c}" for c in "ab" for i in range(6)]
    out = tmp_path / "x.npz"
    absolute = import_images(table(tmp_path, "\n".join(rows)), out=out)
    rows = [f"cells/{c}/{i}.png,{c}" for c in "ab" for i in range(6)]
    (tmp_path / "cells.csv").write_text("\n".join(["path,label", *rows]))
    assert import_images(tmp_path / "cells.csv", out=out, force=True).md5 == absolute.md5


def test_numbers_as_classes_are_ordered_by_value(tmp_path: Path) -> None:
    for name in ("10", "9", "0"):
        for i in range(6):
            picture(tmp_path / "cells" / name / "deep" / f"{i}.png")
    result = import_images(tmp_path / "cells", out=tmp_path / "x.npz")
    assert result.classes == ("0", "9", "10")


# --- unusual pictures ---


def _turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture(path)
    Image.open(path).save(path, exif=exif)


def _palette(path: Path) -> None:
    picture(path)
    Image.open(path).convert("P").save(path)


def _opaque(path: Path) -> None:
    Image.new("RGBA", (16, 16), (90, 0, 90, 255)).save(path)


def _sixteen(path: Path) -> None:
    Image.fromarray(np.linspace(0, 65535, 400).reshape(20, 20).astype(np.uint16)).save(path)


UNUSUAL = {
    "turned": _turned,
    "palette": _palette,
    "opaque alpha": _opaque,
    "5,000 x 5,000 pixels": lambda path: Image.new("RGB", (5000, 5000), (9, 8, 7)).save(path),
    "a strip": lambda path: picture(path, (8, 300)),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_pictures_are_read(tmp_path: Path, name: str) -> None:
    source = cells(tmp_path)
    UNUSUAL[name](source / "a" / "0.png")
    result = import_images(source, out=tmp_path / "x.npz")
    assert sum(result.n_images.values()) == 12
    assert result.shape == (28, 28, 3)


def test_gray_pictures_become_gray_arrays(tmp_path: Path) -> None:
    for c in "ab":
        for i in range(6):
            picture(tmp_path / "cells" / c / f"{i}.png", mode="L")
    _sixteen(tmp_path / "cells" / "a" / "6.png")
    assert import_images(tmp_path / "cells", out=tmp_path / "x.npz").shape == (28, 28)
    colours = import_images(tmp_path / "cells", out=tmp_path / "y.npz", channels=3)
    assert colours.shape == (28, 28, 3)
    assert arrays(tmp_path / "x.npz")[0]["train_images"].shape[1:] == (28, 28)


def test_gray_is_made_as_predict_makes_it(tmp_path: Path) -> None:
    source = cells(tmp_path)
    import_images(source, out=tmp_path / "x.npz", channels=1, size=16)
    stored = {image.tobytes() for image in arrays(tmp_path / "x.npz")[0]["train_images"]}
    rule = Preparation(16, "square", 1, 8)
    pixels = [read_image(path, rule).image for path in source.rglob("*.png")]
    assert sum(p is not None and p.tobytes() in stored for p in pixels) == len(stored)


# --- what a person should look at ---


def test_everything_worth_a_look_is_said(tmp_path: Path) -> None:
    source = cells(tmp_path, n=20)
    (source / "a" / "broken.png").write_bytes(b"")
    (source / "notes.txt").touch()
    (source / ".DS_Store").touch()
    (source / "b" / "copy.png").write_bytes((source / "b" / "0.png").read_bytes())
    Image.new("RGB", (40, 40), (5, 5, 5)).save(source / "b" / "flat.png")
    file = io.BytesIO()
    Image.open(source / "a" / "1.png").resize((160, 120)).save(file, "JPEG", quality=90)
    result = import_images(source, out=tmp_path / "x.npz", skip_unreadable=True)
    said = "\n".join(result.notes())
    assert result.smallest == (16, 12)
    assert result.largest == (40, 40)
    for words in (
        "cannot be read: 1 (a/broken.png)",
        "not pictures: 1 (notes.txt)",
        "one colour only: 1 (b/flat.png)",
        "41 pictures are smaller than 28 pixels and were enlarged",
        "twice in a split: 1 (b/0.png and b/copy.png)",
        "fewer than 10 val pictures: a (2), b (2)",
    ):
        assert words in said
    assert "DS_Store" not in said
    assert arrays(tmp_path / "x.npz")[1]["unreadable"] == ["a/broken.png"]


def test_a_picture_saved_again_is_seen_in_the_other_split(tmp_path: Path) -> None:
    source = splits(tmp_path)
    smooth = Image.open(source / "train" / "a" / "0.png").resize((80, 60), Image.Resampling.BICUBIC)
    smooth.save(source / "train" / "a" / "smooth.png")
    smooth.save(source / "test" / "a" / "again.jpg", quality=80)
    result = import_images(source, out=tmp_path / "x.npz")
    assert ("train/a/smooth.png", "test/a/again.jpg") in result.similar_across
    assert result.same_across == ()


def test_without_colours_copies_are_those_that_are_the_same_in_gray(tmp_path: Path) -> None:
    """They were judged by their colours, and the same gray image was in two splits of the file."""
    source = splits(tmp_path)
    coloured = Image.open(source / "train" / "a" / "0.png").convert("RGB").resize((28, 28))
    coloured.save(source / "train" / "a" / "colour.png")
    coloured.convert("L").save(source / "test" / "a" / "gray.png")
    result = import_images(source, out=tmp_path / "x.npz", channels=1)
    assert result.same_across == (("train/a/colour.png", "test/a/gray.png"),)
    assert result.similar_across == ()


# --- nothing is left behind ---


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow past 10,000 bytes, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.usefixtures("small_files")
def test_a_full_disk(tmp_path: Path) -> None:
    source = cells(tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match=r"cannot write .*x.npz \(File too large\); .*--out"):
        import_images(source, out=tmp_path / "out" / "x.npz")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_interruption_leaves_nothing_and_keeps_the_old_file(tmp_path: Path) -> None:
    source = cells(tmp_path)
    out = tmp_path / "out" / "x.npz"
    import_images(source, out=out)
    before = out.read_bytes()

    def interrupt(done: int, total: int) -> None:
        assert total == 12
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_images(source, out=out, seed=3, force=True, on_picture=interrupt)
    assert out.read_bytes() == before
    assert list(out.parent.iterdir()) == [out]


def test_a_source_without_its_last_class(tmp_path: Path) -> None:
    source = cells(tmp_path)
    for path in (source / "b").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="no picture of the class b can be read"):
        import_images(source, out=tmp_path / "x.npz", skip_unreadable=True)


def test_a_given_split_without_a_readable_picture_of_a_class(tmp_path: Path) -> None:
    source = splits(tmp_path)
    for path in (source / "test" / "b").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="no picture of the class b in the split test can be read"):
        import_images(source, out=tmp_path / "x.npz", skip_unreadable=True)
    assert not (tmp_path / "x.npz").exists()
