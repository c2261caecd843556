"""A wrong clock for one process, by libfaketime."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def clock_shifted_by(offset: str) -> dict[str, str]:
    """Return the variables that shift a Python process's time of day by an offset such as "+10m".

    Its monotonic clock stays right, as on a machine whose time of day was set wrongly. Skips the test
    without libfaketime.
    """
    program = shutil.which("faketime")
    if program is None:
        pytest.skip("needs libfaketime: apt-get install faketime (or your system's package)")
    command = [program, "--exclude-monotonic", "-f", offset, "printenv", "LD_PRELOAD"]
    library = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return {
        "LD_PRELOAD": library,
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "PYTHONPATH": str(Path(__file__).with_name("wrong_clock")),
    }
