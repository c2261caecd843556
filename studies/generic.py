"""The generic study, fitted to the number and the size of a data set's images."""

from __future__ import annotations

import tomllib
from typing import Any

from .files import shipped_text
from .parsing import parse_study
from .schema import StudyFile

GENERIC_STUDY = "generic"
N_IMAGES, SIDE = 12_000, 28
"""The training images, and their pixels, that the values of generic.toml are for."""
POWER = 0.5
"""A set with a hundredth of the images trains for ten times the epochs, and so a tenth of the steps."""
MIN_EPOCHS = 2
"""One cycle of the learning rate needs a rise and a fall."""
FEWEST = 200
"""Smaller sets train as long as one of this size."""
FEW_IMAGES = 2_000
LARGE = 64
"""From this size on only CNNs are searched: the first layer of an MLP would have millions of weights."""


def generic_study(
    name: str, title: str, *, n_train: int, size: int, folded: bool = False
) -> StudyFile:
    """Return the generic study under another name, for `n_train` images of `size` x `size` pixels.

    Where trials are judged by folds (`folded`), final trainings are as long as trials: no other length was
    judged.
    """
    data: dict[str, Any] = tomllib.loads(shipped_text(GENERIC_STUDY))
    data |= {"name": name, "description": f"the generic study, fitted to {title}"[:200]}
    factor = (N_IMAGES / max(n_train, FEWEST)) ** POWER
    training, space = data["training"], data["space"]
    for key in ("epochs", "final_epochs"):
        training[key] = {
            family: max(MIN_EPOCHS, round(epochs * factor))
            for family, epochs in training[key].items()
        }
    if folded:
        training["final_epochs"] = training["epochs"]
    if n_train < FEW_IMAGES:
        space["batch_size"] = [16, 32, 64]
    space["shift"] = min(4, round(space["shift"] * size / SIDE))
    space["cnn_stem"] = 1 if size < LARGE else 2 if size < 2 * LARGE else 4
    deepest = (-(-size // space["cnn_stem"])).bit_length() - 1
    space["cnn_blocks"] = _blocks(deepest)
    if size >= LARGE:
        space["arch"] = "cnn"
        for key in [key for key in space if key.startswith("mlp_")]:
            del space[key]
        for key in ("epochs", "final_epochs"):
            training[key] = training[key]["cnn"]
    return parse_study(data, f"study {GENERIC_STUDY} for {title}")


def _blocks(deepest: int) -> Any:
    """Return the choice of blocks, of which each halves the image, up to four."""
    high = min(4, deepest)
    return {"low": min(2, high - 1), "high": high} if high > 1 else 1
