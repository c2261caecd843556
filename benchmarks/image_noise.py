"""Which part of a validation score's noise the images make, that every seed of a configuration shares.

    python -m benchmarks.image_noise --minutes 20      # trains for so long, and continues where it stopped
    python -m benchmarks image_noise                   # trains all that is missing, then prints

A configuration's score differs from seed to seed. It would also differ on other validation images, and this
part is the same for all its seeds, so more seeds do not remove it. Six configurations are trained for five
epochs with three seeds each, and their predictions are resampled over images (within classes). An image that
is hard for all models shifts all scores alike and cancels, so scores are taken relative to the mean of all
configurations. Their variance over resamples is split into one part per configuration and one per seed,
as in an analysis of variance. The test split stays closed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import RESULTS, in_own_process, save, table

CONFIGURATIONS = (6, 2, 4, 8, 1, 5)
EPOCHS, SEEDS = 5, (100, 101, 102)
N_RESAMPLES = 2000
Floats = NDArray[np.float64]


def macro_f1(labels: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int = 8) -> Floats:
    """Return the macro-F1 of predictions (..., images) against labels (images,)."""
    scores = []
    for number in range(n_classes):
        is_class, says = labels == number, predicted == number
        both = (is_class & says).sum(axis=-1)
        scores.append(2 * both / np.maximum(is_class.sum() + says.sum(axis=-1), 1))
    mean: Floats = np.mean(scores, axis=0)
    return mean


def resampled(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], n: int = N_RESAMPLES, seed: int = 0
) -> Floats:
    """Return the scores (n, configurations, seeds) on `n` resamples of the images, within classes."""
    generator = np.random.default_rng(seed)
    classes = [np.flatnonzero(labels == number) for number in np.unique(labels)]
    scores = []
    for _ in range(n):
        drawn = np.concatenate([generator.choice(images, len(images)) for images in classes])
        scores.append(macro_f1(labels[drawn], predicted[..., drawn]))
    return np.stack(scores)


def parts(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> dict[str, float]:
    """Split the noise of predictions (configurations, seeds, images) by what makes it.

    Returns standard deviations: `seeds`, between the seeds of a configuration on these images; `images`, of
    a configuration's score relative to the others on other images, shared by all its seeds; `all_images`,
    of a single score on other images, what all configurations share included.
    """
    scores = resampled(labels, predicted)
    n_seeds = predicted.shape[1]
    relative = scores - scores.mean(axis=(1, 2), keepdims=True)
    of_configuration = relative.mean(axis=2)
    of_seed = relative - of_configuration[..., None]
    # resampling makes a seed's own deviation vary too, and its mean over seeds with it
    within = of_seed.var(axis=0).sum(axis=1).mean() / (n_seeds - 1)
    shared = max(0.0, float(of_configuration.var(axis=0).mean() - within / n_seeds))
    observed = macro_f1(labels, predicted)
    return {
        "seeds": float(np.sqrt(observed.var(axis=1, ddof=1).mean())),
        "images": float(np.sqrt(shared)),
        "all_images": float(np.sqrt(scores.var(axis=0).mean())),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--minutes", type=float, default=1e6, help="start no training after so long"
    )
    given = parser.parse_args(arguments)
    path = RESULTS / "image_noise.json"
    stored = json.loads(path.read_text())["result"]["runs"] if path.exists() else {}
    until = time.monotonic() + 60 * given.minutes
    for number, seed in itertools.product(CONFIGURATIONS, SEEDS):
        key = f"{number}, seed {seed}"
        if key not in stored and time.monotonic() < until:
            task = map(str, ("cnn", number, EPOCHS, seed))
            stored[key] = in_own_process("ladders", "--child", *task)
            print(key, max(stored[key]["values"], default=0), flush=True)
            save("image_noise", {"runs": stored})
    show(stored)


def show(stored: dict[str, Any]) -> None:
    """Print the parts of the noise, from the configurations whose seeds are all recorded."""
    from bloodsearch.search.data.load import load_dataset

    rows = [[stored.get(f"{number}, seed {seed}") for seed in SEEDS] for number in CONFIGURATIONS]
    full = [[run["predicted"] for run in row if run] for row in rows if all(row)]
    if len(full) < 2:
        print("not enough trainings are recorded")
        return
    predicted = np.array([[[int(c) for c in run] for run in row] for row in full])
    labels = load_dataset("bloodmnist").val_labels.astype(np.int64)
    measured = parts(labels, predicted)
    share = measured["images"] ** 2 / (measured["images"] ** 2 + measured["seeds"] ** 2)
    table(
        f"noise of a validation macro-F1, {len(full)} configurations with {len(SEEDS)} seeds",
        ["between seeds", "images, shared by a configuration's seeds", "their share of the variance",
         "images, shared by all configurations too"],
        [[f"{measured['seeds']:.4f}", f"{measured['images']:.4f}", f"{100 * share:.0f} %",
          f"{measured['all_images']:.4f}"]],
    )  # fmt: skip
    save("image_noise", {"runs": stored, "parts": measured | {"share": share}})


def run() -> None:
    main([])


if __name__ == "__main__":
    main()
