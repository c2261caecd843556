"""Coverage of the 95 % intervals of a final evaluation, on simulated test splits.

Each simulated image has a difficulty that all replicates share, and each replicate a quality of its own.
The truth is the configuration's expected macro-F1 over other images and other seeds. An interval is right
if it holds the truth in 95 % of repetitions.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bloodsearch.search.evaluation.scoring import confusion_of, spread, with_interval
from bloodsearch.search.training.metrics import scores

from .common import save, table

N_OF_CLASS = (244, 624, 311, 579, 243, 284, 666, 470)
"""Images of each class in BloodMNIST's test split."""
LABELS = np.repeat(np.arange(8, dtype=np.uint8), N_OF_CLASS)
N_REPETITIONS = 120
N_TRUTH = 1500
N_RESAMPLES = 100
CONFIGURATIONS = {"0.97": 8.2, "0.93": 6.0}
"""Macro-F1, about, and the quality (log-odds of an image of mean difficulty) that gives it."""
SEED_SDS = (0.05, 0.30)
"""Standard deviation of the quality over seeds, in log-odds."""
REPLICATES = (1, 2, 5)


def predict(
    quality: float, seed_sd: float, n_replicates: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw a test split and replicates, and return the predicted classes (n_replicates, n_images)."""
    difficulty = rng.normal(0, 4, len(LABELS))
    qualities = quality + rng.normal(0, seed_sd, n_replicates)
    right = rng.random((n_replicates, len(LABELS))) < 1 / (
        1 + np.exp(difficulty - qualities[:, None])
    )
    return np.where(right, LABELS, (LABELS + 1 + 2 * (rng.random(right.shape) < 0.4)) % 8)


def macro_f1(predictions: NDArray[np.int64]) -> list[float]:
    """Return the macro-F1 of each replicate."""
    return [scores(confusion_of(LABELS, row, 8)).macro_f1 for row in predictions]


def coverage(quality: float, seed_sd: float, n: int, truth: float) -> dict[str, Any]:
    """Return how often each interval of `n` replicates holds the truth, and its mean width."""
    rng = np.random.default_rng([n, int(1000 * seed_sd), int(10 * quality)])
    keys = ("interval_95", "interval_95_images_and_seeds")
    held: dict[str, list[bool]] = {key: [] for key in keys}
    widths: dict[str, list[float]] = {key: [] for key in keys}
    stds = []
    for _ in range(N_REPETITIONS):
        predictions = predict(quality, seed_sd, n, rng)
        macro = spread(macro_f1(predictions))
        found = with_interval(macro, LABELS, predictions, n_resamples=N_RESAMPLES)
        stds.append(macro["std"])
        for key in keys:
            if found[key] is not None:
                low, high = found[key]
                held[key].append(low <= truth <= high)
                widths[key].append(high - low)
    return {
        "seed_sd": float(np.mean(stds)) if n > 1 else None,
        **{
            key: {"coverage": float(np.mean(held[key])), "width": float(np.mean(widths[key]))}
            for key in keys
            if held[key]
        },
    }


def run() -> None:
    rows, results = [], []
    for (name, quality), seed_sd in itertools.product(CONFIGURATIONS.items(), SEED_SDS):
        rng = np.random.default_rng(0)
        truth = float(
            np.mean([macro_f1(predict(quality, seed_sd, 1, rng))[0] for _ in range(N_TRUTH)])
        )
        for n in REPLICATES:
            found = coverage(quality, seed_sd, n, truth)
            results.append({"about": name, "truth": truth, "n": n, "quality_sd": seed_sd, **found})
            images, both = found["interval_95"], found.get("interval_95_images_and_seeds")
            rows.append(
                [
                    f"{truth:.4f}",
                    "-" if found["seed_sd"] is None else f"{found['seed_sd']:.4f}",
                    str(n),
                    f"{images['coverage']:.3f}",
                    "-" if both is None else f"{both['coverage']:.3f}",
                    f"{images['width']:.4f}",
                    "-" if both is None else f"{both['width']:.4f}",
                ]
            )
    table(
        f"coverage of the 95 % intervals, {N_REPETITIONS} repetitions each (standard error 0.02)",
        [
            *("true macro-F1", "sd over seeds", "replicates", "images only", "images and seeds"),
            *("width, images only", "width, images and seeds"),
        ],
        rows,
    )
    save("intervals", results)


if __name__ == "__main__":
    run()
