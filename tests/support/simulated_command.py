"""The `bloodsearch` command with workers that sleep instead of training, and a data set of kilobytes."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

from bloodsearch.search.api import training
from bloodsearch.search.cli import main
from bloodsearch.search.data import synthetic
from bloodsearch.search.workers.supervisor import Supervisor

WORKER = Path(__file__).parents[2] / "benchmarks" / "simulated_worker.py"


def run() -> None:
    """Run the command line of this process."""
    program = (sys.executable, "-P", str(WORKER))
    training.Supervisor = functools.partial(Supervisor, program=program)  # type: ignore[misc,assignment]
    make = synthetic.make_split
    synthetic.make_split = lambda split: make(split, 16)  # type: ignore[assignment,misc]
    main()


if __name__ == "__main__":
    run()
