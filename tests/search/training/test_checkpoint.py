"""Checkpoints: whole or not at all, and never a way to run code."""

from __future__ import annotations

import os
import pickle
import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bloodsearch.search.errors import DataError
from bloodsearch.search.training import checkpoint


@pytest.fixture
def payload() -> dict[str, Any]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model(torch.randn(5, 4)).sum().backward()
    optimizer.step()
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": torch.get_rng_state(),
        "history": [{"epoch": 1, "value": 0.1 + 0.2}],
        "nothing": None,
        "text": "é",
    }


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b)


def test_a_payload_comes_back_as_it_was(tmp_path: Path, payload: dict[str, Any]) -> None:
    path = tmp_path / "new" / "folder" / "trial-1.pt"
    checkpoint.save(path, payload)
    assert same(checkpoint.load(path), payload)
    assert [file.name for file in path.parent.iterdir()] == ["trial-1.pt"]


def test_a_checkpoint_replaces_the_one_before(tmp_path: Path, payload: dict[str, Any]) -> None:
    path = tmp_path / "trial-1.pt"
    checkpoint.save(path, {"old": 1})
    checkpoint.save(path, payload)
    assert same(checkpoint.load(path), payload)


def half_written(failure: BaseException) -> Callable[[Path, bytes], None]:
    def write_bytes(path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(b"half a checkpoint")
        raise failure

    return write_bytes


@pytest.mark.parametrize(
    ("failure", "raised", "message"),
    [
        (OSError(28, "No space left on device"), OSError, "disk full"),
        (OSError(5, "Input/output error"), OSError, "Input/output error"),
        (KeyboardInterrupt(), KeyboardInterrupt, ""),
    ],
    ids=["full", "broken", "interrupt"],
)
def test_a_failed_write_leaves_the_old_checkpoint_and_no_other_file(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failure: BaseException,
    raised: type[BaseException],
    message: str,
) -> None:
    path = tmp_path / "trial-1.pt"
    checkpoint.save(path, {"old": 1})
    before = path.read_bytes()
    monkeypatch.setattr(Path, "write_bytes", half_written(failure))
    with pytest.raises(raised, match=message or None):
        checkpoint.save(path, {"new": 2})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_rename_leaves_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: object, target: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="denied"):
        checkpoint.save(tmp_path / "trial-1.pt", {"new": 2})
    assert list(tmp_path.iterdir()) == []


def test_a_missing_checkpoint_is_not_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "none.pt")


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        checkpoint.load(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert len(message) < len(str(path)) + 200
    return message


class Exploit:
    """Unpickling this writes a file."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.mkdir, (str(self.victim),)


def test_a_pickled_object_is_refused_and_not_run(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "trial-1.pt"
    torch.save({"model": Exploit(victim)}, path)
    refusal(path)
    path.write_bytes(pickle.dumps(Exploit(victim)))
    refusal(path)
    assert not victim.exists()
    with zipfile.ZipFile(path, "w") as archive:  # torch's container by hand
        archive.writestr("archive/data.pkl", pickle.dumps(Exploit(victim)))
        archive.writestr("archive/version", "3\n")
    refusal(path)
    assert not victim.exists()
    pickle.loads(pickle.dumps(Exploit(victim)))  # shows that the exploit works
    assert victim.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello\n" * 100, b"\x80\x02}q\x00."])
def test_a_file_that_is_no_checkpoint(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trial-1.pt"
    path.write_bytes(content)
    refusal(path)


def test_a_damaged_checkpoint_costs_one_error_and_no_warnings(tmp_path: Path) -> None:
    path = tmp_path / "trial-1.pt"
    path.write_bytes(b"\x80\x7f}q\x00.")  # a pickle protocol that torch warns about
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        refusal(path)
    assert [str(warning.message) for warning in seen] == []


def test_a_folder_and_a_list_are_no_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "folder.pt").mkdir()
    refusal(tmp_path / "folder.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    assert "no dictionary" in refusal(tmp_path / "list.pt")


def test_every_truncated_checkpoint_is_refused(tmp_path: Path, payload: dict[str, Any]) -> None:
    path = tmp_path / "trial-1.pt"
    checkpoint.save(path, payload)
    content = path.read_bytes()
    for size in range(0, len(content), len(content) // 40):
        path.write_bytes(content[:size])
        refusal(path)


def test_damage_anywhere_loads_or_is_refused(tmp_path: Path, payload: dict[str, Any]) -> None:
    path = tmp_path / "trial-1.pt"
    checkpoint.save(path, payload)
    good, rng, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(300):
        content = bytearray(good)
        for _ in range(rng.choice((1, 8))):
            content[rng.randrange(min(len(good), 1_500))] = rng.randrange(256)
        path.write_bytes(content)
        try:
            checkpoint.load(path)
        except DataError:
            refused += 1
    assert refused > 150
