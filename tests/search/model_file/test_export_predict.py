"""Exported files answer as PyTorch does, and predicting needs nothing but them."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import f1_score
from tests_support import tiny_study
from weights_support import trained

from bloodsearch import export as export_winner
from bloodsearch.search.data.load import Dataset, load_dataset
from bloodsearch.search.data.registry import registered
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.errors import BloodsearchError, DataError, RefusedError, UsageError
from bloodsearch.search.evaluation import ledger
from bloodsearch.search.evaluation.scoring import confusion_of, load_model, predictor
from bloodsearch.search.images import read as images
from bloodsearch.search.model_file import export as library
from bloodsearch.search.model_file import predict
from bloodsearch.search.model_file.predict import METADATA_KEY
from bloodsearch.search.study import create_or_resume

pytestmark = pytest.mark.slow

CNN = {"arch": "cnn", "widths": [4, 8], "norm": True, "convs": 2, "residual": True, "head": "max"}
MLP = {"arch": "mlp", "widths": [8], "norm": True, "dropout": 0.2}
CLASS_NAMES = registered("bloodmnist").classes
SHAPE = registered("bloodmnist").shape
FACTS = {"classes": list(CLASS_NAMES), "study": "tiny"}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_dataset("synthetic")


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory, data: Dataset) -> Path:
    folder = tmp_path_factory.mktemp("model")
    path = folder / "model.onnx"
    library.export(trained(folder, CNN), FACTS, data, "onnx", path)
    return path


@pytest.mark.parametrize("form", ["onnx", "torch"])
@pytest.mark.parametrize("model", [CNN, MLP], ids=["cnn", "mlp"])
def test_the_file_answers_as_pytorch_does(
    tmp_path: Path, data: Dataset, form: library.Format, model: dict[str, Any]
) -> None:
    trial, path = trained(tmp_path, model), tmp_path / "out" / f"model.{form}"
    difference = library.export(trial, FACTS, data, form, path)
    assert 0 <= difference < 1e-5
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    images = data.val_images[:33]
    expected = predictor(trial)(images)
    if form == "onnx":
        found = predict.load_classifier(path)
        assert found.classes == CLASS_NAMES
        assert found.provenance == FACTS
        answers = found.probabilities(images)
    else:
        extra = {METADATA_KEY: ""}
        program = torch.export.load(path, extra_files=extra)
        assert json.loads(extra[METADATA_KEY]) == FACTS
        answers = program.module()(torch.from_numpy(images)).detach().numpy()
    assert answers.shape == (33, 8)
    np.testing.assert_allclose(answers, expected, atol=1e-5)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)


def test_a_file_that_answers_otherwise_is_not_kept(
    tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept" / "model.onnx"
    path.parent.mkdir()
    path.write_text("the older one")
    trial = trained(tmp_path, CNN)
    other = trained(tmp_path, CNN, seed=1)
    original = library._write_onnx

    def wrong(model: torch.nn.Module, facts: dict[str, Any], out: Path) -> library.Run:
        return original(library.SelfContained(load_model(other), SHAPE).eval(), facts, out)

    monkeypatch.setitem(library._WRITERS, "onnx", wrong)
    with pytest.raises(BloodsearchError, match="was not kept"):
        library.export(trial, FACTS, data, "onnx", path)
    assert [p.read_text() for p in path.parent.iterdir()] == ["the older one"]


@pytest.fixture
def storage_url(sqlite_url: str) -> str:
    return sqlite_url


def with_final_evaluation(storage: Storage, folder: Path, data: Dataset, shift: int) -> Any:
    """A study whose final evaluation has two replicates; `shift` images are in a wrong cell."""
    study = create_or_resume(storage, "tiny", tiny_study(), data.fingerprint)
    replicas = create_or_resume(
        storage, "tiny-final-0", tiny_study(), data.fingerprint, kind="replicates"
    )
    trials = [trained(folder, CNN, seed) for seed in (1, 2)]
    for trial in trials:
        replicas.add_trial(trial)
    from bloodsearch.search.data.load import open_test_split

    images, labels = open_test_split("synthetic", None, expected=data.fingerprint)
    counts: Any = sum(
        confusion_of(labels, predictor(trial)(images).argmax(axis=1), 8) for trial in trials
    )
    counts[0, 0] -= shift
    counts[0, 1] += shift
    opening = ledger.record_opening(
        storage, "tiny", trial=0, n_replicates=2, data_hash="x", forced=False
    )
    ledger.record_result(
        storage,
        opening,
        {
            "trial": 0, "seeds": [1, 2], "confusion_matrix": counts.tolist(), "test_openings": 1,
            "test_macro_f1": {"values": [0.1, 0.2]},
        },
    )  # fmt: skip
    return study


@pytest.mark.parametrize("shift", [0, 3])
def test_the_test_split_check_is_exact_and_counted(
    storage: Storage, tmp_path: Path, data: Dataset, shift: int
) -> None:
    study = with_final_evaluation(storage, tmp_path, data, shift)
    replicates = library.trained_replicates(storage, study)
    assert replicates.best() == 1
    found = library.check_on_test(storage, study, replicates, data, None)
    assert found["identical"] == (shift == 0)
    assert found["n_different"] == shift
    assert found["test_openings"] == 2
    rows = ledger.openings(storage, "tiny")
    assert [row.forced for row in rows] == [False, True]
    # the final evaluation stays what later exports start from
    assert library.trained_replicates(storage, study).result["seeds"] == [1, 2]


def test_a_model_of_other_data_is_not_exported(
    storage: Storage, tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was scored on validation images that it may have been trained on."""
    with_final_evaluation(storage, tmp_path, data, 0)
    other = replace(data, fingerprint=replace(data.fingerprint, content_hash="9" * 32))
    monkeypatch.setattr("bloodsearch.search.api.export.load_dataset", lambda *args: other)
    out = tmp_path / "x.onnx"
    with pytest.raises(RefusedError, match="the data changed"):
        export_winner(storage=storage.full_url, name="tiny", out=out)
    assert not out.exists()
    with pytest.raises(UsageError, match="the check on the test split is of ONNX files"):
        export_winner(storage=storage.full_url, name="tiny", format="torch", check_test=True)
    few = replace(data, val_images=data.val_images[:9], val_labels=data.val_labels[:9])
    monkeypatch.setattr("bloodsearch.search.api.export.load_dataset", lambda *args: few)
    assert export_winner(storage=storage.full_url, name="tiny", out=out).n_compared == 9


def test_a_folder_is_no_file_to_export_to(tmp_path: Path, data: Dataset) -> None:
    with pytest.raises(UsageError, match="is a folder; name a file in it"):
        library.export(trained(tmp_path, MLP), FACTS, data, "onnx", tmp_path)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("form", ["onnx", "torch"])
def test_a_disk_that_fails_leaves_the_older_file(
    tmp_path: Path,
    data: Dataset,
    form: library.Format,
    number: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "kept" / f"model.{form}"
    path.parent.mkdir()
    path.write_text("the older one")

    def fail(model: torch.nn.Module, facts: dict[str, Any], out: Path) -> library.Run:
        out.write_text("half")
        raise OSError(number, os.strerror(number))

    monkeypatch.setitem(library._WRITERS, form, fail)
    with pytest.raises(UsageError, match=f"cannot write .*{os.strerror(number)}.*--out"):
        library.export(trained(tmp_path, MLP), FACTS, data, form, path)
    assert [p.read_text() for p in path.parent.iterdir()] == ["the older one"]


def test_a_device_is_not_replaced_by_a_file(tmp_path: Path, data: Dataset) -> None:
    path = tmp_path / "x.onnx"
    os.mkfifo(path)
    with pytest.raises(UsageError, match="not a regular file"):
        library.export(trained(tmp_path, MLP), FACTS, data, "onnx", path)
    assert path.is_fifo()


def test_the_stored_validation_value_is_the_files(
    storage: Storage, tmp_path: Path, data: Dataset
) -> None:
    study = with_final_evaluation(storage, tmp_path, data, 0)
    replicates = library.trained_replicates(storage, study)
    facts = library.provenance(study, replicates, 1, data)
    path = tmp_path / "x.onnx"
    library.export(replicates.trials[1], facts, data, "onnx", path)
    classifier = predict.load_classifier(path)
    predictions = classifier.probabilities(data.val_images).argmax(axis=1)
    expected = f1_score(data.val_labels, predictions, average="macro")
    assert classifier.provenance["val_macro_f1"] == pytest.approx(expected, abs=1e-12)
    assert expected != replicates.trials[1].value


def test_without_a_final_evaluation_there_is_nothing_to_export(
    storage: Storage, data: Dataset
) -> None:
    study = create_or_resume(storage, "tiny", tiny_study(), data.fingerprint)
    with pytest.raises(RefusedError, match="bloodsearch final-eval --name tiny"):
        library.trained_replicates(storage, study)


# --- predicting ---


@pytest.fixture
def cells(tmp_path: Path, data: Dataset) -> Path:
    """Four good images of all kinds and sizes, and three bad ones."""
    folder = tmp_path / "cells"
    folder.mkdir()
    image = Image.fromarray(data.val_images[0])
    image.save(folder / "a.png")
    image.save(folder / "b.tif")
    image.resize((360, 363)).save(folder / "c.JPG")
    image.convert("L").save(folder / "d.png")
    (folder / "empty.png").touch()
    Image.new("RGB", (27, 300)).save(folder / "small.png")
    Image.new("I;16", (64, 64)).save(folder / "deep.tiff")
    (folder / "notes.txt").write_text("not an image")
    return folder


def run(*args: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "bloodsearch", "predict", *map(str, args)],
        env={**os.environ, "COLUMNS": "200"}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_a_folder_with_bad_images(cells: Path, model_file: Path, data: Dataset) -> None:
    done = run(cells, "--model", model_file, "--json", code=1)
    found = json.loads(done.stdout)
    assert [Path(row["file"]).name for row in found["predictions"]] == [
        "a.png", "b.tif", "c.JPG", "d.png",
    ]  # fmt: skip
    expected = predict.load_classifier(model_file).probabilities(data.val_images[:1])[0]
    first = found["predictions"][0]
    assert first["label"] == int(expected.argmax())
    assert first["class"] == CLASS_NAMES[first["label"]]
    np.testing.assert_allclose(list(first["probabilities"].values()), expected, atol=1e-6)
    assert {Path(bad["file"]).name for bad in found["skipped"]} == {
        "empty.png", "small.png", "deep.tiff",
    }  # fmt: skip
    assert "small.png: is 27 x 300 pixels" in done.stderr
    assert "4 images predicted, 3 skipped" in done.stderr


def names(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [Path(row["file"]).name for row in json.loads(done.stdout)["predictions"]]


def test_a_folder_says_what_was_not_read(tmp_path: Path, model_file: Path, data: Dataset) -> None:
    folder = tmp_path / "cells"
    (folder / "sub").mkdir(parents=True)
    image = Image.fromarray(data.val_images[0])
    for name in ("a.png", "b.bmp", "c.webp", "d.gif", "sub/e.png"):
        image.save(folder / name)
    (folder / "notes.txt").touch()
    done = run(folder, "--model", model_file, "--json")
    assert names(done) == ["a.png", "b.bmp", "c.webp", "d.gif"]
    assert [Path(p).name for p in json.loads(done.stdout)["left_out"]] == ["notes.txt", "sub"]
    assert f"not read in {folder}: notes.txt, sub/; images end in .png," in done.stderr
    assert done.stderr.endswith("; --recursive reads the folders, too\n")
    done = run(folder, "--model", model_file, "--json", "--recursive")
    assert names(done) == ["a.png", "b.bmp", "c.webp", "d.gif", "e.png"]
    assert "--recursive" not in done.stderr


HOSTILE = [
    "=1+1.png",
    "a\nb.png",
    "\x1b[2J\x1b]0;x\x07.png",
    "\u202egnp.png",
    "\udcff.png",
    "é細.png",
]


@pytest.fixture
def hostile_names(tmp_path: Path, data: Dataset) -> Path:
    folder = tmp_path / "names"
    folder.mkdir()
    for name in HOSTILE:
        Image.fromarray(data.val_images[0]).save(folder / name, "PNG")
    (folder / "\x1b[2Jbad.png").touch()
    return folder


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("form", [(), ("--csv",), ("--json",)])
def test_names_that_others_chose(
    hostile_names: Path,
    model_file: Path,
    form: tuple[str, ...],
    encoding: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(hostile_names)
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    done = run(".", "--model", model_file, *form, code=1)
    for text in (done.stdout, done.stderr):
        assert {c for c in text if not c.isprintable()} <= {"\n"}
    if form == ("--json",):
        assert sorted(names(done)) == sorted(HOSTILE)
        return
    assert len(done.stdout.splitlines()) == len(HOSTILE) + (1 if form else 4)
    if form:
        files = [row["file"] for row in csv.DictReader(io.StringIO(done.stdout))]
        assert "'=1+1.png" in files
        assert r"a\nb.png" in files


@pytest.mark.parametrize("form", [(), ("--csv",), ("--json",)])
def test_a_reader_that_leaves(
    tmp_path: Path, model_file: Path, data: Dataset, form: tuple[str, ...]
) -> None:
    np.savez(tmp_path / "x.npz", images=data.val_images[:300])
    command = ["predict", str(tmp_path / "x.npz"), "--model", str(model_file), *form]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "bloodsearch", *command],
        stdout=write, stderr=subprocess.PIPE, timeout=60,
    )  # fmt: skip
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_arrays_are_judged_before_memory_is_taken(tmp_path: Path) -> None:
    header = io.BytesIO()
    shape = (1 << 40, 28, 28, 3)
    np.lib.format.write_array_header_1_0(
        header, {"descr": "|u1", "fortran_order": False, "shape": shape}
    )
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("images.npy", header.getvalue())
    with pytest.raises(DataError, match=r"holds 1,099,511,627,776 images; at most 1,000,000"):
        list(predict.read_items(tmp_path / "x.npz"))


def test_a_model_with_other_classes_than_answers(tmp_path: Path, data: Dataset) -> None:
    for classes in (list(CLASS_NAMES)[:7], ["a"] * 8, "abcdefgh", [1, 2, 3, 4, 5, 6, 7, 8]):
        with pytest.raises(DataError, match="not a model that bloodsearch exported"):
            library.export(
                trained(tmp_path, MLP), {"classes": classes}, data, "onnx", tmp_path / "x.onnx"
            )
        assert not (tmp_path / "x.onnx").exists()


def test_csv_and_table_of_an_archive(tmp_path: Path, model_file: Path, data: Dataset) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, images=data.val_images[:300], labels=data.val_labels[:300])
    rows = list(csv.DictReader(io.StringIO(run(path, "--model", model_file, "--csv").stdout)))
    expected = predict.load_classifier(model_file).probabilities(data.val_images[:300])
    assert [int(row["label"]) for row in rows] == expected.argmax(axis=1).tolist()
    assert f"{path.name}:images[299]" in run(path, "--model", model_file).stdout.replace("\n", "")


@pytest.mark.parametrize(
    ("source", "code", "message"),
    [
        ("nowhere", 2, "cannot be read (No such file or directory)"),
        ("notes.txt", 2, "images end in"),
        ("empty", 2, "no image in"),
        ("damaged.npz", 3, "cannot be read"),
        ("shape.npz", 3, "images is uint8"),
        ("sealed.npz", 5, "test split"),
    ],
)
def test_unusable_sources(
    tmp_path: Path, model_file: Path, source: str, code: int, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 no archive")
    np.savez(tmp_path / "shape.npz", images=np.zeros((2, 64, 64, 3), np.uint8))
    np.savez(tmp_path / "sealed.npz", test_images=np.zeros((2, 28, 28, 3), np.uint8))
    done = run(tmp_path / source, "--model", model_file, code=code)
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_unusable_models(tmp_path: Path, cells: Path, model_file: Path) -> None:
    with pytest.raises(UsageError, match="no model file"):
        predict.load_classifier(tmp_path / "no.onnx")
    (tmp_path / "cut.onnx").write_bytes(model_file.read_bytes()[:5000])
    with pytest.raises(DataError, match="not a model that bloodsearch exported"):
        predict.load_classifier(tmp_path / "cut.onnx")


def test_large_images_are_cropped_to_their_centre() -> None:
    pixels = np.zeros((363, 360, 3), np.uint8)
    pixels[81:281, 80:280] = 200  # the centre 200 x 200
    found = images.fit_image(Image.fromarray(pixels))
    assert found.shape == (28, 28, 3)
    assert (found == 200).all()
    small = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    np.testing.assert_array_equal(images.fit_image(Image.fromarray(small)), small)
    wide = np.zeros((100, 180, 3), np.uint8)
    wide[:, 40:140] = 200  # smaller than 200: the largest square in the middle
    assert (images.fit_image(Image.fromarray(wide)) == 200).all()


def test_predicting_loads_no_torch_and_no_database(cells: Path, model_file: Path) -> None:
    code = f"""
import sys
from bloodsearch.search.cli import main
try:
    main(["predict", {str(cells)!r}, "--model", {str(model_file)!r}, "--csv"])
except SystemExit as ended:
    assert ended.code == 1
heavy = ("torch", "optuna", "sqlalchemy", "sklearn", "scipy", "medmnist", "onnx")
heavy += ("bloodsearch.search.training", "bloodsearch.models.cnn")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
