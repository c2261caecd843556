"""The workers that a scheduler starts: how many, for which study, with which resources."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError

MAX_WORKERS = 10_000
MIN_MEMORY_MB = 1024
"""A worker needs up to 500 MB, and the command that it starts from 150 MB more."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,50}[a-z0-9])?")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@,-]*")
_TIME = re.compile(r"(\d+-)?\d{1,2}:\d{2}:\d{2}|\d+")


@dataclass(frozen=True, slots=True)
class WorkerJob:
    """Workers of one study, one per array index, each in a place of its own.

    Args:
        study: A shipped study file, the path of one, or a study's name in the database.
        workers: Number of workers, each in a task or pod of its own.
        name: The study's name in the database; None for its file's.
        cpus: Cores per worker.
        gpus: GPUs per worker.
        memory_mb: Memory per worker in MiB.
        job_name: The job's name for the scheduler; None makes one from the study's.

    Raises UsageError for numbers and names that no scheduler takes.
    """

    study: str
    workers: int
    name: str | None = None
    cpus: int = 1
    gpus: int = 0
    memory_mb: int = 2048
    job_name: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.workers <= MAX_WORKERS:
            raise UsageError(f"--workers {self.workers}: a number from 1 to {MAX_WORKERS}")
        if self.memory_mb < MIN_MEMORY_MB:
            raise UsageError(
                f"--memory {self.memory_mb}: a worker needs at least {MIN_MEMORY_MB} MiB"
            )
        if not _NAME.fullmatch(self.scheduler_name):
            raise UsageError(
                f"--job-name {self.scheduler_name}: at most 52 lower-case letters, digits and hyphens"
            )

    @property
    def scheduler_name(self) -> str:
        """Return the job's name for the scheduler."""
        if self.job_name is not None:
            return self.job_name
        words = re.sub(r"[^a-z0-9]+", "-", (self.name or Path(self.study).stem).lower()).strip("-")
        return f"bloodsearch-{words}"[:52].rstrip("-")

    def worker_arguments(self) -> list[str]:
        """Return the arguments of `bloodsearch` that start one worker."""
        devices = ["--devices", "auto"] if self.gpus else ["--devices", "cpu"]
        # with several GPUs: one worker process on each
        count = ["--workers", "auto" if self.gpus else "1"]
        return ["worker", self.study, *self._named(), *devices, *count]

    def create_arguments(self, trials: int) -> list[str]:
        """Return the arguments of `bloodsearch` that create the study with a budget of `trials`."""
        return ["optimize", self.study, *self._named(), "--trials", str(trials), "--create-only"]

    def _named(self) -> list[str]:
        return [] if self.name is None else ["--name", self.name]


def check_word(option: str, value: str) -> str:
    """Return `value` if it can stand unquoted in YAML and in a script. Raises UsageError otherwise."""
    if not _WORD.fullmatch(value):
        raise UsageError(f"{option} {value}: only letters, digits and the signs . _ - / : @ ,")
    return value


def check_time(time: str) -> str:
    """Return `time` if Slurm reads it: minutes, HH:MM:SS or D-HH:MM:SS. Raises UsageError otherwise."""
    if not _TIME.fullmatch(time):
        raise UsageError(f"--time {time}: minutes, HH:MM:SS or D-HH:MM:SS")
    return time
