"""Any npz of MedMNIST's layout: what is taken from it, and what is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bloodsearch.search.data.info import FileInfo, Fingerprint
from bloodsearch.search.data.load import dataset_info, joined, load_dataset, open_test_split
from bloodsearch.search.data.places import file_of
from bloodsearch.search.errors import DataError
from bloodsearch.search.training.device import to_device

Arrays = dict[str, np.ndarray]
SIZES = {"train": 30, "val": 12, "test": 9}


def arrays(side: int = 10, channels: int = 1, classes: int = 3) -> Arrays:
    rng = np.random.default_rng(0)
    shape = (side, side) if channels == 1 else (side, side, 3)
    made: Arrays = {}
    for split, n in SIZES.items():
        made[f"{split}_images"] = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
        made[f"{split}_labels"] = np.arange(n) % classes
    return made


def write(folder: Path, made: Arrays, name: str = "cells.npz") -> str:
    np.savez_compressed(folder / name, **made)  # type: ignore[arg-type]
    return str(folder / name)


def described(info: FileInfo) -> np.ndarray:
    return np.frombuffer(info.encode(), np.uint8)


def test_a_file_without_a_description(tmp_path: Path) -> None:
    path = write(tmp_path, arrays())
    data = load_dataset(path)
    assert data.info == dataset_info(path)
    assert (data.info.name, data.info.title, data.info.task) == (
        "cells.npz",
        "cells",
        "multi-class",
    )
    assert data.info.classes == ("class 0", "class 1", "class 2")
    assert data.info.n_images == SIZES
    assert data.train_images.shape == (30, 10, 10, 1)
    assert data.train_labels.dtype == np.uint8
    assert data.fingerprint.describe() == "cells (own data)"
    assert data.info.shape.model_dump() == {"size": 10, "channels": 1, "classes": 3}


def test_a_file_describes_itself(tmp_path: Path) -> None:
    info = FileInfo(
        title="Our cells", task="ordinal", classes=("mild", "bad", "worse", "none seen"), crop=120
    )
    made = arrays(channels=3, classes=4) | {"info": described(info)}
    data = load_dataset(write(tmp_path, made))
    assert (data.info.title, data.info.task, data.info.crop) == ("Our cells", "ordinal", 120)
    assert data.info.preparation.crop == 120
    stored = Fingerprint.read(data.fingerprint.as_dict())
    assert stored == data.fingerprint
    assert stored.info.classes == info.classes


def test_two_classes_are_a_binary_task(tmp_path: Path) -> None:
    assert load_dataset(write(tmp_path, arrays(classes=2))).info.task == "binary"


def test_groups_are_part_of_the_data(tmp_path: Path) -> None:
    plain = load_dataset(write(tmp_path, arrays()))
    assert plain.groups is None
    assert plain.n_groups is None
    made = arrays()
    made |= {"train_groups": np.arange(30) // 3, "val_groups": np.arange(12, dtype=np.uint32) // 3}
    grouped = load_dataset(write(tmp_path, made))
    assert grouped.groups is not None
    assert grouped.groups.tolist() == [*made["train_groups"], *made["val_groups"]]
    assert grouped.n_groups == 10  # groups 0 to 3 are in both splits
    assert grouped.fingerprint.content_hash != plain.fingerprint.content_hash
    assert joined(grouped).groups is None
    assert to_device(grouped, torch.device("cpu")).groups is grouped.groups


def test_a_study_finds_its_file_again_in_another_folder(tmp_path: Path) -> None:
    data = load_dataset(write(tmp_path, arrays()))
    moved = tmp_path / "moved"
    moved.mkdir()
    (tmp_path / "cells.npz").rename(moved / "cells.npz")
    with pytest.raises(DataError, match=r"no file .*cells.npz; name an npz file, or its folder"):
        load_dataset(data.fingerprint)
    again = load_dataset(data.fingerprint, moved)
    assert again.fingerprint.content_hash == data.fingerprint.content_hash
    assert file_of(data.fingerprint, moved) == moved / "cells.npz"


def test_the_test_split_of_an_own_file_is_sealed_too(tmp_path: Path) -> None:
    made = arrays()
    data = load_dataset(write(tmp_path, made))
    order: list[str] = []
    images, labels = open_test_split(
        data.fingerprint, None, expected=data.fingerprint, record=lambda: order.append("recorded")
    )
    assert order == ["recorded"]
    np.testing.assert_array_equal(images[..., 0], made["test_images"])
    np.testing.assert_array_equal(labels, made["test_labels"])
    made["test_images"][0, 0, 0] ^= 1
    changed = load_dataset(write(tmp_path, made))
    assert changed.fingerprint.content_hash != data.fingerprint.content_hash


def test_an_official_name_is_checked_as_that_set(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"train_images.npy has shape \(30, 10, 10\), not \(546, 28, 28\)"
    ):
        load_dataset(write(tmp_path, arrays(), "breastmnist.npz"))


Change = Callable[[Arrays], Any]


def put(name: str, value: np.ndarray) -> Change:
    return lambda made: made.update({name: value})


BAD: dict[str, tuple[Change, str]] = {
    "floats": (put("train_images", np.zeros((30, 10, 10))), "train_images.npy holds float64, not uint8"),
    "16 bits": (put("val_images", np.zeros((12, 10, 10), np.uint16)), "holds uint16, not uint8"),
    "one-hot": (put("train_labels", np.eye(3, dtype=np.uint8)[np.arange(30) % 3]), "one-hot, or several"),
    "text labels": (put("val_labels", np.array(["a"] * 12)), "not integers"),
    "float labels": (put("val_labels", np.zeros(12)), "val_labels.npy holds float64, not integers"),
    "objects": (put("val_labels", np.array([None] * 12)), "holds object, not integers"),
    "negative": (put("val_labels", np.full(12, -1)), "val_labels holds -1; labels are 0..2"),
    "gap": (put("train_labels", np.arange(30) % 2 * 2), r"no image of the label 1"),
    "300 classes": (put("train_labels", np.arange(30) * 10), "it has 291 classes; 2 to 256"),
    "one class": (lambda m: [m.update({f"{s}_labels": np.zeros(n, int)}) for s, n in SIZES.items()],
                  "it has 1 classes"),
    "3 x 3": (lambda m: m.update(arrays(side=3)), "3 x 3 pixels; they are square, with 4 to 512"),
    "oblong": (put("train_images", np.zeros((30, 10, 12), np.uint8)), "10 x 12 pixels"),
    "other size": (put("val_images", np.zeros((12, 12, 12), np.uint8)), r"has images of \(12, 12\)"),
    "mixed colours": (put("val_images", np.zeros((12, 10, 10, 3), np.uint8)), "val_images has images of"),
    "alpha": (put("train_images", np.zeros((30, 10, 10, 4), np.uint8)), r"images are \(n, s, s\)"),
    "no test": (lambda m: m.pop("test_images"), "the array test_images is missing"),
    "empty split": (put("val_images", np.zeros((0, 10, 10), np.uint8)), "a split has 2 images or more"),
    "label missing": (put("val_labels", np.zeros(11, int)), "12 images need"),
    "groups of one split": (put("train_groups", np.arange(30)), "the array val_groups is missing"),
    "too few groups": (lambda m: m.update(train_groups=np.arange(29), val_groups=np.arange(12)),
                       "30 images need 30 integers"),
    "named groups": (lambda m: m.update(train_groups=np.array(["a"] * 30), val_groups=np.arange(12)),
                     "train_groups.npy holds <U1"),
    "info text": (put("info", np.array("x")), "not JSON in bytes"),
    "info broken": (put("info", np.frombuffer(b"{nope", np.uint8)), "info: info: Invalid JSON"),
    "info binary": (put("info", np.full(9, 255, np.uint8)), "info: "),
    "info twice": (put("info", described(FileInfo(classes=("a", "a", "b")))), "a name occurs twice"),
    "info too few": (put("info", described(FileInfo(classes=("a", "b")))), "holds 2; labels are 0..1"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    change, words = BAD[name]
    made = arrays()
    change(made)
    path = write(tmp_path, made)
    with pytest.raises(DataError, match=words) as caught:
        load_dataset(path)
    message = str(caught.value)
    assert message.startswith(f"{path} cannot be used: ")
    assert (
        message.endswith("`bloodsearch data import` writes such a file") or "number the" in message
    )
    assert message.isprintable()
    assert len(message) < 500


def test_images_that_do_not_fit_into_memory_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    class Memory:
        available = 1000

    monkeypatch.setattr(psutil, "virtual_memory", Memory)
    with pytest.raises(DataError, match=r"GiB of memory are free; use a smaller size"):
        load_dataset(write(tmp_path, arrays()))
