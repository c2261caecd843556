"""Measure how long an epoch takes on this machine, with all workers busy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import BloodsearchError
from ..training.config import TrialConfig
from ..workers.slots import Slot


def epoch_seconds(
    configs: Sequence[TrialConfig],
    slots: Sequence[Slot],
    *,
    dataset: str = "bloodmnist",
    data_root: Path | None = None,
) -> list[float]:
    """Return the seconds of an epoch of each configuration, with one training in every slot.

    Each slot's process times a few batches of every configuration, in the same order at the same time. The
    mean over the slots is returned: one to three seconds per configuration on a CPU. Raises BloodsearchError
    when a process fails.
    """
    requests = [
        json.dumps(
            {
                "threads": slot.threads,
                "device": slot.device,
                "dataset": dataset,
                "data_root": None if data_root is None else str(data_root),
                "configs": [config.model_dump(mode="json") for config in configs],
            }
        )
        for slot in slots
    ]
    children = [
        subprocess.Popen(
            [sys.executable, "-P", "-m", "bloodsearch.search.training.timing"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **slot.environment()},
        )
        for slot in slots
    ]
    try:
        for child, request in zip(children, requests, strict=True):
            assert child.stdin is not None
            child.stdin.write(request)
            child.stdin.close()
            child.stdin = None
        answers = [_answer(child) for child in children]
    finally:
        for child in children:
            child.kill()
            child.wait()
    return [sum(seconds) / len(seconds) for seconds in zip(*answers, strict=True)]


def _answer(child: subprocess.Popen[str]) -> list[float]:
    output, errors = child.communicate()
    if child.returncode:
        last = (errors.strip().splitlines() or ["no message"])[-1]
        raise BloodsearchError(f"the speed of this machine could not be measured: {last}")
    seconds: list[float] = json.loads(output)
    return seconds
