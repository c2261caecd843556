"""bfloat16 is used where it agrees with float32, and its absence is said once."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator

import pytest
import torch
from torch.nn import functional as F

from bloodsearch.search.training import device
from bloodsearch.search.training.device import bfloat16_deviation, choose_precision

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    device._bfloat16_is_sound.cache_clear()
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
    yield
    device._bfloat16_is_sound.cache_clear()


def test_rounding_alone_passes_and_is_seen() -> None:
    state = torch.get_rng_state()
    deviation = bfloat16_deviation()
    # the format's own rounding, 2^-8, on any processor; nothing at all would mean it was not used
    assert 1e-4 < deviation < device.MAX_DEVIATION / 2
    assert torch.equal(torch.get_rng_state(), state)
    assert choose_precision(CPU) == "bfloat16"


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


def test_without_the_instruction_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(device, "bfloat16_deviation", lambda: pytest.fail("not needed"))
    assert choose_precision(CPU) == "float32"
