"""Measure how long an epoch takes on this machine, with all workers busy."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...studies import StudyFile
from ..data import registry
from ..errors import BloodsearchError
from ..training.config import TrialConfig
from ..workers.launch import end
from ..workers.slots import Slot

PRUNED_SHARE = 0.8
"""Share of the epochs that a search with pruning trained: 488 of 611 (benchmarks/results/end_to_end.json)."""


def pruned_share(file: StudyFile, n_trials: int) -> float:
    """Return the share of its epochs that a search of so many trials trains: few trials prune none."""
    prunes = file.pruner.name != "none" and n_trials > 2 * file.search.startup_trials
    return PRUNED_SHARE if prunes else 1.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What trainings in every slot at the same time took."""

    seconds: list[float]
    """Seconds of an epoch of each configuration, as a mean over the slots."""
    worker_mb: float
    """The largest resident memory of a process in MiB."""
    gpu_mb: float
    """The largest memory of a process on a GPU in MiB; 0 on a CPU."""


def epoch_seconds(
    configs: Sequence[TrialConfig],
    slots: Sequence[Slot],
    *,
    dataset: str = registry.DEFAULT,
    data_root: Path | None = None,
    n_folds: int = 0,
) -> list[float]:
    """Return the seconds of an epoch of each configuration, as `measure` does."""
    return measure(configs, slots, dataset=dataset, data_root=data_root, n_folds=n_folds).seconds


def measure(
    configs: Sequence[TrialConfig],
    slots: Sequence[Slot],
    *,
    dataset: str = registry.DEFAULT,
    data_root: Path | None = None,
    n_folds: int = 0,
) -> Measured:
    """Return the seconds of an epoch of each configuration and the memory, with a training in every slot.

    Each slot's process times a few batches of every configuration, in the same order at the same time. The
    mean over the slots is returned: one to six seconds per configuration on a CPU. With `n_folds`, an epoch
    is one of each fold, as in a trial that is judged by folds. Raises BloodsearchError when a process fails.
    """
    requests = [
        json.dumps(
            {
                "threads": slot.threads,
                "device": slot.device,
                "dataset": dataset,
                "data_root": None if data_root is None else str(data_root),
                "n_folds": n_folds,
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
            end(child)
    times = zip(*(answer["seconds"] for answer in answers), strict=True)
    return Measured(
        [statistics.fmean(seconds) for seconds in times],
        max(answer["mb"] for answer in answers),
        max(answer["gpu_mb"] for answer in answers),
    )


def _answer(child: subprocess.Popen[str]) -> dict[str, Any]:
    output, errors = child.communicate()
    if child.returncode:
        last = (errors.strip().splitlines() or ["no message"])[-1]
        raise BloodsearchError(f"the speed of this machine could not be measured: {last}")
    answer: dict[str, Any] = json.loads(output)
    return answer
