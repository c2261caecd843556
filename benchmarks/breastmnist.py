"""The generic study on BreastMNIST, which has 78 validation images: trials are judged by folds.

    python -m benchmarks breastmnist

Takes about a quarter of an hour of a processor.
"""

from __future__ import annotations

from benchmarks.any_data import run_set


def run() -> None:
    run_set("breastmnist", lambda folder: "breastmnist")
