"""Blocks freed by a step are there for the next one; after a training they are given back."""

from __future__ import annotations

import resource

import psutil
import pytest
import torch

from bloodsearch.search.training.allocator import keep_freed_blocks, training_memory

CPU = torch.device("cpu")
MB = 2**20

pytestmark = pytest.mark.skipif(not keep_freed_blocks(), reason="no glibc")


def faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def test_a_freed_block_is_used_again_without_page_faults() -> None:
    def step() -> None:
        for _ in range(4):
            torch.ones(8 * MB)  # 32 MiB, beyond every default of glibc

    with training_memory(CPU):
        for _ in range(16):  # until the heap has grown to what a step needs
            step()
        before = faults()
        step()
        assert faults() - before < 4 * 8192 / 10  # with fresh pages: 4 x 8192


def test_memory_is_given_back_at_the_end() -> None:
    process = psutil.Process()
    with training_memory(CPU):
        block = torch.ones(64 * MB)  # 256 MiB
        later = torch.ones(MB)  # above it on the heap: the heap cannot simply shrink
        within = process.memory_info().rss
        del block
    assert process.memory_info().rss < within - 200 * MB
    assert later.sum() == MB
