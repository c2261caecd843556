"""The processor's precision: bfloat16 where it is right and faster, measured once and remembered."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from bloodsearch.search import doctor
from bloodsearch.search.training import processor
from bloodsearch.search.training.device import choose_precision
from bloodsearch.search.training.processor import Answer, bfloat16_deviation, measure, remembered

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    processor.answer.cache_clear()
    yield
    processor.answer.cache_clear()


def test_rounding_alone_passes_and_is_seen() -> None:
    state = torch.get_rng_state()
    deviation = bfloat16_deviation()
    # the format's own rounding, 2^-8, on any processor; nothing at all would mean it was not used
    assert 1e-4 < deviation < processor.MAX_DEVIATION / 2
    assert torch.equal(torch.get_rng_state(), state)


def test_the_step_gives_the_kernels_what_a_training_gives_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kernels take bfloat16 maps alone. With others the step would time what no training does."""
    given: list[torch.dtype] = []

    def convolve(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        given.append(x.dtype)
        return F.conv2d(x, weight, padding=1)

    monkeypatch.setattr(processor, "convolve", convolve)
    bfloat16_deviation()
    assert given == [torch.bfloat16, torch.float32]


@pytest.mark.parametrize("fault", [1.3, math.nan])
def test_a_processor_that_errs_trains_in_float32_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: float
) -> None:
    linear = F.linear

    def faulty(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        out = linear(x, weight)
        return out * fault if out.dtype == torch.bfloat16 else out

    monkeypatch.setattr(F, "linear", faulty)
    with caplog.at_level(logging.WARNING):
        assert [choose_precision(CPU) for _ in range(3)] == ["float32"] * 3
    assert len(caplog.messages) == 1
    assert "deviates" in caplog.messages[0]
    # the fault is remembered, and a later process says it too
    processor.answer.cache_clear()
    monkeypatch.setattr(processor, "measure", lambda: pytest.fail("measured again"))
    assert choose_precision(CPU) == "float32"
    assert len(caplog.messages) == 2


def test_without_the_instruction_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    monkeypatch.setattr(processor, "_capabilities", lambda: {"cpu_name": "old"})
    monkeypatch.setattr(processor, "bfloat16_deviation", lambda: pytest.fail("not needed"))
    assert choose_precision(CPU) == "float32"


@pytest.mark.parametrize(("half_ms", "precision"), [(1.0, "bfloat16"), (3.0, "float32")])
def test_the_faster_precision_is_chosen(
    monkeypatch: pytest.MonkeyPatch, half_ms: float, precision: str
) -> None:
    times = {"float32": 2.0, "bfloat16": half_ms}
    monkeypatch.setattr(processor, "_fastest_ms", lambda name, clock: times[name])
    assert measure().precision == precision


def test_an_arm_processor_with_bfloat16_tries_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for unit in ("avx2", "avx512", "avx512_bf16", "amx_tile"):
        monkeypatch.setattr(torch.cpu, f"_is_{unit}_supported", lambda: False)
    monkeypatch.setattr(processor, "_capabilities", lambda: {"neon": True, "bf16": True})
    assert processor.features() == "NEON, bf16"
    assert "bfloat16" in measure().step_ms


def test_measuring_is_fast_and_leaves_torch_as_it_was() -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    started = time.process_time()
    measure()
    assert time.process_time() - started < 2.0
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def _answer(ms: float) -> Answer:
    return Answer(precision="float32", step_ms={"float32": ms})


def test_an_answer_is_measured_once_for_each_key(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "processors.json"
    assert remembered(path, "a", lambda: _answer(1)) == _answer(1)
    assert remembered(path, "b", lambda: _answer(2)) == _answer(2)
    assert remembered(path, "a", lambda: _answer(3)) == _answer(1)
    assert set(json.loads(path.read_text())) == {"a", "b"}


@pytest.mark.parametrize(
    "content", ["", "{", '{"a": {"precision": "float8", "step_ms": {}}}', "[]"]
)
def test_a_damaged_file_is_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "processors.json"
    path.write_text(content)
    assert remembered(path, "a", lambda: _answer(1)) == _answer(1)
    assert remembered(path, "a", lambda: pytest.fail("measured again")) == _answer(1)


def test_where_nothing_can_be_written_it_is_measured_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "processors.json", None):
        assert remembered(path, "a", lambda: _answer(1)) == _answer(1)


def test_workers_that_start_together_get_one_answer(tmp_path: Path) -> None:
    def ask(ms: float) -> float:
        def slow() -> Answer:
            time.sleep(0.1)
            return _answer(ms)

        return remembered(tmp_path / "processors.json", "a", slow).step_ms["float32"]

    # the lock excludes threads as it excludes processes: each opens the file by itself
    with ThreadPoolExecutor(3) as workers:
        assert len(set(workers.map(ask, (1.0, 2.0, 3.0)))) == 1


def test_doctor_shows_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = {"float32": 6.0, "bfloat16": 2.0}
    made = Answer(precision="bfloat16", deviation=0.004, step_ms=steps, two_threads=1.8)
    monkeypatch.setattr(processor, "measure", lambda: made)
    (check,) = doctor._check_processor()
    assert check.ok
    assert "bfloat16 3.0 times as fast as float32, two threads 1.8 times" in check.finding
    assert str(processor.path()) in check.finding
