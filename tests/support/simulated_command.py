"""The `bloodsearch` command with workers that sleep instead of training, and a data set of kilobytes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from bloodsearch.search.cli import main
from bloodsearch.search.data import synthetic
from bloodsearch.search.workers import launch

WORKER = Path(__file__).parents[2] / "benchmarks" / "simulated_worker.py"


def forward_simulation() -> None:
    """Let simulated workers in a cluster have the variables SIM_... of this process."""
    from bloodsearch.search.cluster import launcher

    names = tuple(name for name in os.environ if name.startswith("SIM_"))
    launcher.FORWARDED = launcher.FORWARDED[:6] + names


def run() -> None:
    """Run the command line of this process."""
    launch.PROGRAM = ("-P", str(WORKER))
    if "--cluster" in sys.argv:
        forward_simulation()
    make = synthetic.make_split
    synthetic.make_split = lambda split: make(split, 16)  # type: ignore[assignment,misc]
    main()


if __name__ == "__main__":
    run()
