"""Reading BloodMNIST: what it is, which copy it is, and every way in which a file is not it."""

from __future__ import annotations

import hashlib
import io
import os
import random
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from bloodsearch.search.data import registry
from bloodsearch.search.data.archive import Archive
from bloodsearch.search.data.load import file_md5, load_dataset, open_test_split
from bloodsearch.search.data.places import default_root
from bloodsearch.search.errors import DataError, RefusedError

FILE_NAME = "bloodmnist.npz"
SPLITS = ("train", "val", "test")
Arrays = dict[str, NDArray[np.uint8]]
Write = Callable[[Arrays], Path]


def refusal(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_dataset("bloodmnist", root)
    message = str(caught.value)
    assert str(root / FILE_NAME) in message or f"{FILE_NAME} is not in {root}" in message
    assert "data fetch" in message or "npz archive" in message
    assert message.isprintable()
    assert len(message) < 600
    return message


def hash_of(root: Path) -> str:
    return load_dataset("bloodmnist", root).fingerprint.content_hash


def test_a_good_file_gives_its_arrays(write_npz: Write, arrays: Arrays) -> None:
    found = load_dataset("bloodmnist", write_npz(arrays))
    for name in ("train_images", "val_images"):
        np.testing.assert_array_equal(getattr(found, name), arrays[name])
    for name in ("train_labels", "val_labels"):
        np.testing.assert_array_equal(getattr(found, name), arrays[name].reshape(-1))
    assert found.fingerprint.dataset == "bloodmnist"
    assert found.fingerprint.provenance == "unofficial"
    assert found.fingerprint.describe() == "BloodMNIST (unofficial copy)"


def test_the_official_file_is_known_by_its_md5(
    write_npz: Write, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_npz(arrays)
    digest = hashlib.md5((root / FILE_NAME).read_bytes(), usedforsecurity=False).hexdigest()
    before = load_dataset("bloodmnist", root).fingerprint
    monkeypatch.setitem(registry._tables()["bloodmnist"]["md5"], "28", digest)
    after = load_dataset("bloodmnist", root).fingerprint
    assert after.provenance == "official"
    assert after.describe() == "BloodMNIST"
    assert after.content_hash == before.content_hash


def test_labels_may_be_flat_and_arrays_in_columns(write_npz: Write, arrays: Arrays) -> None:
    good = load_dataset("bloodmnist", write_npz(arrays))
    arrays["train_labels"] = arrays["train_labels"].reshape(-1)
    arrays["train_images"] = np.asfortranarray(arrays["train_images"])
    other = load_dataset("bloodmnist", write_npz(arrays))
    np.testing.assert_array_equal(other.train_labels, good.train_labels)
    np.testing.assert_array_equal(other.train_images, good.train_images)
    assert other.train_images.flags.c_contiguous


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("what", ["images", "labels"])
def test_content_hash_changes_with_any_pixel_and_label(
    write_npz: Write, arrays: Arrays, split: str, what: str
) -> None:
    seen = {hash_of(write_npz(arrays))}
    array = arrays[f"{split}_{what}"]
    for position in (0, array.size // 2, array.size - 1):
        array.flat[position] ^= 1
        seen.add(hash_of(write_npz(arrays)))
        array.flat[position] ^= 1
    assert len(seen) == 4
    assert hash_of(write_npz(arrays)) in seen


def test_content_hash_changes_with_the_order_of_images(write_npz: Write, arrays: Arrays) -> None:
    before = hash_of(write_npz(arrays))
    arrays["val_images"] = arrays["val_images"][::-1]
    assert hash_of(write_npz(arrays)) != before


def test_content_hash_does_not_depend_on_compression(write_npz: Write, arrays: Arrays) -> None:
    root = write_npz(arrays)
    compressed = hash_of(root)
    size = (root / FILE_NAME).stat().st_size
    np.savez(root / FILE_NAME, **arrays)  # type: ignore[arg-type]
    assert (root / FILE_NAME).stat().st_size != size
    assert hash_of(root) == compressed


def test_loading_reads_no_member_of_the_test_split(
    write_npz: Write, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    original = Archive.read

    def record(archive: Archive, name: str) -> NDArray[Any]:
        read.append(name)
        return original(archive, name)

    monkeypatch.setattr(Archive, "read", record)
    root = write_npz(arrays)
    fingerprint = load_dataset("bloodmnist", root).fingerprint
    train_and_val = [
        f"{split}_{what}" for split in ("train", "val") for what in ("images", "labels")
    ]
    assert read == train_and_val
    open_test_split("bloodmnist", root, expected=fingerprint)  # shows that a reading would be seen
    assert read[-2:] == ["test_images", "test_labels"]


def test_loading_inflates_no_byte_of_the_test_arrays_beyond_their_headers(
    write_npz: Write, arrays: Arrays, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_read: dict[str, int] = {}
    original = zipfile.ZipExtFile.read

    def count(self: zipfile.ZipExtFile, n: int | None = -1) -> bytes:
        found = original(self, n)
        n_read[self.name] = n_read.get(self.name, 0) + len(found)
        return found

    monkeypatch.setattr(zipfile.ZipExtFile, "read", count)
    load_dataset("bloodmnist", write_npz(arrays))
    assert n_read["test_images.npy"] == n_read["test_labels.npy"] == 128  # npy headers
    assert n_read["train_images.npy"] > arrays["train_images"].size


def test_the_test_split_opens_for_the_data_of_the_search_only(
    write_npz: Write, arrays: Arrays
) -> None:
    root = write_npz(arrays)
    expected = load_dataset("bloodmnist", root).fingerprint
    images, labels = open_test_split("bloodmnist", root, expected=expected)
    np.testing.assert_array_equal(images, arrays["test_images"])
    np.testing.assert_array_equal(labels, arrays["test_labels"].reshape(-1))
    other = replace(expected, content_hash="0" * 32)
    with pytest.raises(RefusedError, match="the data changed"):
        open_test_split("bloodmnist", root, expected=other)
    arrays["test_images"][0, 0, 0, 0] ^= 1
    write_npz(arrays)
    with pytest.raises(RefusedError, match="the data changed"):
        open_test_split("bloodmnist", root, expected=expected)


# --- files that are not BloodMNIST ---


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    message = refusal(tmp_path)
    for way in ("data fetch", "--data-root", "BLOODSEARCH_DATA", "synthetic"):
        assert way in message
    assert refusal(tmp_path / "no" / "such" / "folder")


def test_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()
    assert "not a regular file" in refusal(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_no_permission(write_npz: Write, arrays: Arrays) -> None:
    root = write_npz(arrays)
    (root / FILE_NAME).chmod(0)
    with pytest.raises(DataError, match="no permission"):
        load_dataset("bloodmnist", root)


@pytest.mark.parametrize(
    "content", [b"", b"not an archive\n" * 50, b"PK\x03\x04", b"PK\x05\x06" + b"\0" * 18]
)
def test_not_an_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    refusal(tmp_path)


@pytest.mark.parametrize("member", [f"{s}_{w}" for s in SPLITS for w in ("images", "labels")])
def test_a_missing_array(write_npz: Write, arrays: Arrays, member: str) -> None:
    del arrays[member]
    assert f"the array {member} is missing" in refusal(write_npz(arrays))


@pytest.mark.parametrize("member", [f"{s}_{w}" for s in SPLITS for w in ("images", "labels")])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.astype(np.int16), "int16, not uint8"),
        (lambda a: a.astype(np.float32), "float32, not uint8"),
        (lambda a: a.astype(object), "object, not uint8"),  # would need unpickling
        (lambda a: a.astype([("x", "u1")]), "not uint8"),
        (lambda a: a[:-1], "has shape"),
        (lambda a: a[..., None], "has shape"),
        (lambda a: np.zeros((), np.uint8), "has shape ()"),
        (lambda a: np.zeros((0, *a.shape[1:]), np.uint8), "has shape (0,"),
    ],
    ids=["int16", "float32", "object", "record", "short", "axis", "scalar", "empty"],
)
def test_a_wrong_dtype_or_shape(
    write_npz: Write,
    arrays: Arrays,
    member: str,
    change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
    words: str,
) -> None:
    arrays[member] = change(arrays[member])
    message = refusal(write_npz(arrays))
    assert member in message
    assert words in message


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_label_that_is_none(write_npz: Write, arrays: Arrays, split: str) -> None:
    arrays[f"{split}_labels"][-1] = 9
    message = refusal(write_npz(arrays))
    assert f"{split}_labels holds 9; labels are 0..7" in message


def test_a_bad_test_split_costs_no_opening(write_npz: Write, arrays: Arrays) -> None:
    opened: list[bool] = []

    def open_it(root: Path) -> None:
        expected = load_dataset("bloodmnist", root).fingerprint
        open_test_split("bloodmnist", root, expected=expected, record=lambda: opened.append(True))

    good = write_npz(arrays)
    open_it(good)
    assert opened == [True]
    path = good / "bloodmnist.npz"
    with zipfile.ZipFile(path) as file:
        member = file.getinfo("test_images.npy")
    content = bytearray(path.read_bytes())
    content[member.header_offset + 1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"test_images\.npy is damaged"):
        open_it(good)
    arrays["test_labels"][-1] = 9
    root = write_npz(arrays)
    with pytest.raises(DataError, match="test_labels holds 9"):
        open_it(root)
    assert opened == [True]


def test_images_and_labels_swapped(write_npz: Write, arrays: Arrays) -> None:
    arrays["train_images"], arrays["train_labels"] = arrays["train_labels"], arrays["train_images"]
    assert "train_images.npy has shape (24, 1)" in refusal(write_npz(arrays))


def test_splits_swapped(write_npz: Write, arrays: Arrays) -> None:
    for what in ("images", "labels"):
        train, val = arrays[f"train_{what}"], arrays[f"val_{what}"]
        arrays[f"train_{what}"], arrays[f"val_{what}"] = val, train
    assert "has shape (16, 28, 28, 3)" in refusal(write_npz(arrays))


def test_the_official_sizes_are_asked_for(tmp_path: Path, arrays: Arrays) -> None:
    np.savez(tmp_path / FILE_NAME, **arrays)  # type: ignore[arg-type]
    assert "not (11959, 28, 28, 3)" in refusal(tmp_path)


def pack(root: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(root / FILE_NAME, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return root


def encode(array: NDArray[np.uint8], version: tuple[int, int] = (1, 0)) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that version 3 is seldom
        npy_format.write_array(file, array, version=version)
    return file.getvalue()


@pytest.mark.usefixtures("tiny_sizes")
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda a: encode(a, (3, 0)), "not a numpy array"),
        (lambda a: b"", "not a numpy array"),
        (lambda a: b"\x93NUMPY", "not a numpy array"),
        (lambda a: b"hello", "not a numpy array"),
        (lambda a: encode(a)[:90], "not a numpy array"),
        (lambda a: encode(a)[:-1], "is damaged"),
        (lambda a: encode(a).replace(b"shape", b"shapf"), "not a numpy array"),
        (lambda a: encode(a).replace(b"{'descr'", b"[(((((("), "not a numpy array"),
        (lambda a: b"\x93NUMPY\x01\x00\xff\xff" + b" " * 65535, "not a numpy array"),
        (lambda a: b"\0" * 80_000_000, "not a numpy array"),
    ],
    ids=["v3", "empty", "magic", "text", "header", "short", "keys", "syntax", "long", "bomb"],
)
def test_a_damaged_array(
    tmp_path: Path, arrays: Arrays, damage: Callable[[NDArray[np.uint8]], bytes], words: str
) -> None:
    members = {name: encode(array) for name, array in arrays.items()}
    assert load_dataset("bloodmnist", pack(tmp_path, members))
    members["val_images"] = damage(arrays["val_images"])
    message = refusal(pack(tmp_path, members))
    assert "val_images" in message
    assert words in message


@pytest.mark.usefixtures("tiny_sizes")
def test_a_header_that_claims_a_huge_array(tmp_path: Path, arrays: Arrays) -> None:
    members = {name: encode(array) for name, array in arrays.items()}
    header = io.BytesIO()
    npy_format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": (1 << 40, 28, 28, 3)}
    )
    members["train_images"] = header.getvalue()
    assert "shape (1099511627776, 28, 28, 3)" in refusal(pack(tmp_path, members))


@pytest.mark.usefixtures("tiny_sizes")
def test_a_size_in_the_directory_that_is_a_lie(tmp_path: Path, arrays: Arrays) -> None:
    """A zip bomb: the directory claims gigabytes for a few deflated bytes."""
    root = pack(tmp_path, {name: encode(array) for name, array in arrays.items()})
    content = bytearray((root / FILE_NAME).read_bytes())
    at = content.rindex(b"PK\x01\x02", 0, content.rindex(b"train_images.npy"))
    content[at + 24 : at + 28] = (2**32 - 2).to_bytes(4, "little")
    (root / FILE_NAME).write_bytes(content)
    assert "train_images.npy claims 4294967294 bytes" in refusal(root)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.95, 0.999])
def test_a_truncated_file(write_npz: Write, arrays: Arrays, share: float) -> None:
    root = write_npz(arrays)
    content = (root / FILE_NAME).read_bytes()
    (root / FILE_NAME).write_bytes(content[: int(share * len(content))])
    assert "not a complete npz archive" in refusal(root)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "deflated"])
def test_flipped_bytes_never_give_other_images(
    tmp_path: Path,
    tiny_sizes: dict[str, int],
    arrays: Arrays,
    save: Callable[..., None],
) -> None:
    for what in ("train_images", "val_images", "test_images"):
        arrays[what] //= 64  # compressible, so that deflate has something to trip over
    save(tmp_path / FILE_NAME, **arrays)
    good = (tmp_path / FILE_NAME).read_bytes()
    before = load_dataset("bloodmnist", tmp_path)
    rng = random.Random(0)
    refused = 0
    for _ in range(150):
        content = bytearray(good)
        for _ in range(rng.choice((1, 8))):
            near_the_end = rng.random() < 0.5  # where the archive's directory is
            at = len(good) - rng.randrange(1, 700) if near_the_end else rng.randrange(len(good))
            content[at] = rng.randrange(256)
        (tmp_path / FILE_NAME).write_bytes(content)
        try:
            found = load_dataset("bloodmnist", tmp_path)
        except DataError as error:
            line = str(error)
        else:
            for name in ("train_images", "train_labels", "val_images", "val_labels"):
                np.testing.assert_array_equal(getattr(found, name), getattr(before, name))
            continue
        refused += 1
        assert line.isprintable()
        assert len(line) < 600
    assert refused > 75


def test_the_synthetic_set_needs_no_file(tmp_path: Path) -> None:
    found = load_dataset("synthetic", tmp_path)
    assert len(found.train_images) == 11_959
    assert len(found.val_images) == 1_712
    assert found.fingerprint.provenance == "synthetic"
    assert "not blood cells" in found.fingerprint.describe()


def test_default_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BLOODSEARCH_DATA", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("BLOODSEARCH_DATA")
    assert default_root() == Path.home() / ".medmnist"
    monkeypatch.setenv("BLOODSEARCH_DATA", "")
    assert default_root() == Path.home() / ".medmnist"


@pytest.mark.real_data
def test_the_real_file(real_data: Path) -> None:
    found = load_dataset("bloodmnist", real_data)
    official = file_md5(real_data / FILE_NAME) == registry.official("bloodmnist").md5
    assert found.fingerprint.provenance == ("official" if official else "unofficial")
    train = (852, 2181, 1085, 2026, 849, 993, 2330, 1643)
    val = (122, 312, 155, 290, 122, 143, 333, 235)
    assert tuple(np.bincount(found.train_labels, minlength=8)) == train
    assert tuple(np.bincount(found.val_labels, minlength=8)) == val
    for images in (found.train_images, found.val_images):
        assert images.shape[1:] == (28, 28, 3)
        assert images.dtype == np.uint8
        assert 150 < images.mean() < 230  # stained cells on a pale ground


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_class_that_a_split_lacks_is_named(
    arrays: Arrays,
    write_npz: Callable[[Arrays], Path],
    caplog: pytest.LogCaptureFixture,
    split: str,
) -> None:
    load_dataset("bloodmnist", write_npz(arrays))
    assert caplog.text == ""
    labels = arrays[f"{split}_labels"]
    labels[(labels == 2) | (labels == 7)] = 0
    load_dataset("bloodmnist", write_npz(arrays))
    assert f"no image of the class erythroblast or platelet in the {split} split" in caplog.text
