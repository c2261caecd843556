"""Finding, reading and overriding study files; every mistake is one line of StudyFileError."""

from __future__ import annotations

import codecs
import os
from pathlib import Path
from typing import Any

import pytest

from bloodsearch.studies import (
    StudyFileError,
    load_study_file,
    shipped_names,
    shipped_text,
    study_text,
)
from bloodsearch.studies.sections import Range

MINIMAL = """
name = "minimal"
[training]
epochs = 2
final_epochs = 3
[space]
arch = "mlp"
optimizer = "adam"
lr = 1e-3
"""


def refusal(name_or_path: str, overrides: list[str] | None = None) -> str:
    with pytest.raises(StudyFileError) as caught:
        load_study_file(name_or_path, overrides)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 1100
    return message


def write(folder: Path, content: str | bytes) -> str:
    path = folder / "mine.toml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def test_a_file_of_ones_own_loads_with_defaults(tmp_path: Path) -> None:
    study = load_study_file(write(tmp_path, MINIMAL))
    assert study.name == "minimal"
    assert study.search.sampler == "tpe"
    assert study.search.trials is None
    assert study.pruner.name == "family"
    assert study.space == {"arch": "mlp", "optimizer": "adam", "lr": 1e-3}


def test_a_shipped_text_written_to_a_file_is_the_same_study(tmp_path: Path) -> None:
    for name in shipped_names():
        copied = load_study_file(write(tmp_path, shipped_text(name)))
        assert copied == load_study_file(name)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe\x00", "not UTF-8"),
        ("name = \xe9".encode("latin-1"), "not UTF-8"),
        ("", "name: field required"),
        ("name = ", "not valid TOML"),
        ("a = 1\na = 2", "not valid TOML"),
        ("x = " + "[" * 100_000, "not valid TOML"),
        ("x = " + "{a=" * 100_000, "not valid TOML"),
        ("a." * 5_000 + "a = 1", "nested too deeply"),
        ("x = " + "9" * 5_000, "not valid TOML"),
        ("x = 0x" + "f" * 5_000 + MINIMAL, "x: unknown key"),
        (MINIMAL.replace("1e-3", "0x" + "f" * 5_000), "20000 bits is not a number in 1e-07 .. 10"),
        (MINIMAL.replace("1e-3", "1979-05-27"), "space.lr: should be a number"),
        (MINIMAL.replace("1e-3", "nan"), "nan is not a number in 1e-07 .. 10"),
        (MINIMAL.replace("lr", '"l\\nr"'), "space.l\\nr: no such parameter"),
        (MINIMAL + "#" * (1 << 20), "under 1 MiB"),
        ("name = \x00", "not UTF-8 text"),
    ],
    ids=lambda value: None if isinstance(value, str) else "bytes",
)
def test_an_unusable_file_is_named(tmp_path: Path, content: str | bytes, words: str) -> None:
    path = write(tmp_path, content)
    message = refusal(path)
    assert message.startswith(path)
    assert words in message


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.toml")
    assert refusal(missing).startswith(f"{missing}: no such file")
    (tmp_path / "folder.toml").mkdir()
    assert "no such file" in refusal(str(tmp_path / "folder.toml"))
    assert "no such file" in refusal(f"{tmp_path}/")
    assert "no such file" in refusal("nul\0byte.toml")
    refusal("x" * 5_000 + ".toml")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    Path(path).chmod(0)
    assert "cannot be read" in refusal(path)


@pytest.mark.parametrize("name", ["nothing", "", "BLOODMNIST", "bloodmnist\n", "schema.py", ".."])
def test_an_unknown_name_lists_what_ships(name: str) -> None:
    message = refusal(name)
    for shipped in shipped_names():
        assert shipped in message


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("training.min_epochs=5", ("training", "min_epochs", 5)),
        (" training.min_epochs = 5 ", ("training", "min_epochs", 5)),
        ("pruner.quantile=0.25", ("pruner", "quantile", 0.25)),
        ("pruner.name=none", ("pruner", "name", "none")),
        ('pruner.name="none"', ("pruner", "name", "none")),
        ("search.sampler=random", ("search", "sampler", "random")),
        ("search.trials=7", ("search", "trials", 7)),
        ("space.batch_size=[32, 64]", ("space", "batch_size", (32, 64))),
        ("space.cnn_norm=[true,false]", ("space", "cnn_norm", (True, False))),
        ("space.lr={low = 1e-3, high = 0.1}", ("space", "lr", Range(low=1e-3, high=0.1))),
        ("space.lr.high=0.5", ("space", "lr", Range(low=5e-4, high=0.5, log=True))),
        ("space.lr=0.5", ("space", "lr", 0.5)),
        # a key that the file does not have
        ("space.patience=[2, 4]", ("space", "patience", (2, 4))),
        ("description=two words = one", (None, "description", "two words = one")),
        ("description=5 cells", (None, "description", "5 cells")),
        ("name=other", (None, "name", "other")),
    ],
)
def test_override(override: str, read: tuple[str | None, str, Any]) -> None:
    section, key, value = read
    study = load_study_file("bloodmnist", [override])
    table = getattr(study, section) if section else study
    stored = table[key] if isinstance(table, dict) else getattr(table, key)
    assert stored == value
    assert type(stored) is type(value)


def test_the_last_override_wins_and_the_others_stay() -> None:
    study = load_study_file(
        "demo", ["training.epochs=5", "training.final_epochs=6", "training.epochs=7"]
    )
    assert (study.training.epochs, study.training.final_epochs) == (7, 6)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.epochs", ("--set training.epochs", "KEY=VALUE")),
        ("=5", ("KEY=VALUE",)),
        ("", ("KEY=VALUE",)),
        ("training..epochs=5", ("KEY=VALUE",)),
        (".=5", ("KEY=VALUE",)),
        ("name.x=1", ("--set name.x=1", "name is not a table")),
        ("space.arch.low=1", ("arch is not a table",)),
        ("baselines.0.name=x", ("baselines is not a table",)),
        ("training.epochs=five", ("training.epochs", "integer", '"five"')),
        ("training.epochs=", ("training.epochs", "integer")),
        ("training.epochs=5.0", ("training.epochs", "integer")),
        ("training.epochs=1\nx=2", ("training.epochs", "integer")),
        ("training.epoch=5", ("did you mean 'training.epochs'?", "epochs, final_epochs")),
        ("epochs=5", ("epochs: unknown key (did you mean 'training.epochs'?)",)),
        ("lr=0.1", ("lr: unknown key (did you mean 'space.lr'?)",)),
        ("space.lrr=0.1", ("space.lrr: no such parameter (did you mean 'lr'?)",)),
        ("trainig.epochs=5", ("trainig", "training")),
        ("space.lr=[]", ("space.lr", "at least one value")),
        ("space.lr={low=1, high=1}", ("space.lr", "low 1 must be below high 1")),
        ("space.lr=nan", ("space.lr", "1e-07 .. 10")),
        ("space.lr=-inf", ("space.lr", "1e-07 .. 10")),
        ("space.lr={low=1e-3, high=inf}", ("space.lr", "1e-07 .. 10")),
        ("space.dropout=0.1", ("space.dropout", "mlp_dropout")),
        ("training.epochs=" + "[" * 5_000, ("training.epochs", "close its brackets")),
        (
            "space.lr=[1e-3, 1e-2",
            ("--set space.lr: [1e-3, 1e-2 is not a list", "close its brackets"),
        ),
        ("training.epochs=" + "9" * 5_000, ("training.epochs", "integer")),
        (".".join("a" * 5_000) + "=1", ("nested too deeply",)),
        ("a\nb=1", ("a\\nb", "unknown key")),
        ("description=\udcff", ("--set description=\\udcff", "not UTF-8")),
    ],
    ids=lambda value: ascii(value[:30]) if isinstance(value, str) else None,
)
def test_a_bad_override_names_the_key_and_what_is_allowed(
    override: str, words: tuple[str, ...]
) -> None:
    message = refusal("bloodmnist", [override])
    for word in words:
        assert word in message


def test_overrides_do_not_leak_into_the_next_load() -> None:
    load_study_file("bloodmnist", ["training.epochs=7"])
    assert load_study_file("bloodmnist").training.epochs == {"cnn": 5, "mlp": 10}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_file_saved_by_windows_is_read(tmp_path: Path, encoding: str, newline: str) -> None:
    text = f'\ufeffdescription = "Blutkörperchen, 血"\n{MINIMAL}'.replace("\n", newline)
    path = write(tmp_path, text.encode(encoding))
    assert load_study_file(path).description == "Blutkörperchen, 血"
    assert study_text(path) == text.removeprefix("\ufeff").replace(newline, "\n")


@pytest.mark.parametrize(
    "content",
    [
        MINIMAL.encode("utf-16-le"),
        MINIMAL.encode("utf-16")[:-1],
        MINIMAL.encode("utf-32"),
        codecs.BOM_UTF16_BE + b"\xd8\x00",
        codecs.BOM_UTF8 + b"\xff",
    ],
    ids=["utf-16 without mark", "utf-16 cut", "utf-32", "lone surrogate", "utf-8 damaged"],
)
def test_a_file_of_another_encoding_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    assert "not UTF-8 text; save it as UTF-8" in refusal(write(tmp_path, content))
