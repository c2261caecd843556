"""The CPU cores that this process may use."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def core_count() -> int:
    """Return the cores that this process may use, by its affinity and its container's CPU quota."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(n_cores or 1, _quota(Path("/sys/fs/cgroup/cpu.max"))))


def _quota(cpu_max: Path) -> int:
    """Return the cores in a cgroup's "QUOTA PERIOD" file, rounded up; sys.maxsize without a limit."""
    try:
        quota, period = cpu_max.read_text().split()
        return -(-int(quota) // int(period))
    except (OSError, ValueError):  # no cgroup v2 here, or "max": no limit
        return sys.maxsize
