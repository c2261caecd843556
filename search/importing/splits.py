"""Choose which pictures train, validate and test: stratified, whole groups, the same for the same seed.

Units are drawn, not pictures: a unit is a group of the source, together with all pictures that have the
same pixels as one of it. So neither a patient nor a copied picture is in two splits.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .listing import Split

N_DRAWS = 50
"""Orders that are tried for units of several pictures."""
MAX_STEPS = 100_000
"""Units that are placed in all orders together, about two seconds."""


def units_of(groups: Sequence[str | None], digests: Sequence[bytes | None]) -> list[int]:
    """Return the unit of each picture, a number.

    Pictures with the same group or the same digest are in one unit. None joins nothing.
    """
    parent = list(range(len(digests)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[object, int] = {}
    for i, (group, digest) in enumerate(zip(groups, digests, strict=True)):
        for key in (("pixels", digest), ("group", group)):
            if key[1] is not None:
                parent[root(i)] = root(first.setdefault(key, i))
    return [root(i) for i in range(len(digests))]


def draw(
    labels: Sequence[int],
    units: Sequence[int],
    names: Sequence[str],
    fractions: Mapping[Split, float],
    seed: int,
    classes: Sequence[str],
) -> list[Split]:
    """Return the split of each picture.

    Every class gets at least one unit in each split. Raises DataError where that cannot be done.

    Args:
        labels: The class of each picture, counted from 0.
        units: The unit of each picture.
        names: The name of each picture; with the seed, they decide the order in which units are drawn.
        fractions: The part of each class that a split should hold. They sum to 1.
        seed: Another seed gives other splits.
        classes: The names of the classes, for messages.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for i, unit in enumerate(units):
        members[unit].append(i)
    counts = {
        unit: np.bincount([labels[i] for i in inside], minlength=len(classes))
        for unit, inside in members.items()
    }
    _check_enough(counts.values(), len(fractions), classes)
    # the hash, not a generator: an order that no version of numpy changes
    order = sorted(
        members, key=lambda u: hashlib.blake2b(f"{seed} {names[members[u][0]]}".encode()).digest()
    )
    splits = tuple(fractions)
    share = np.array([fractions[split] for split in splits])
    total = np.bincount(labels, minlength=len(classes))
    target = _targets(total, share)
    chosen = _assign(order, counts, target)
    if chosen is None:
        raise DataError(
            "the groups are too large for splits that hold every class; give smaller groups, or choose the "
            "splits yourself in a column `split`"
        )
    return [splits[chosen[unit]] for unit in units]


def _check_enough(
    counts: Iterable[NDArray[np.int64]], n_splits: int, classes: Sequence[str]
) -> None:
    """Raise DataError for a class that is in fewer units than there are splits."""
    n_units = np.sum([count > 0 for count in counts], axis=0)
    for name, n in zip(classes, n_units, strict=True):
        if n < n_splits:
            what = "different picture or group" if n == 1 else "different pictures or groups"
            raise DataError(
                f"the class {name} has {n} {what}, but {n_splits} splits need one each; add pictures, or "
                "remove the class"
            )


def _targets(total: NDArray[np.int64], share: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the number of pictures by split and class: rounded parts, and never none."""
    target: NDArray[np.int64] = np.maximum(np.rint(np.outer(share, total)).astype(np.int64), 1)
    target[0] = total - target[1:].sum(axis=0)  # the first split gets what rounding leaves
    for column in target.T:
        while column[0] < 1:
            column[int(column[1:].argmax()) + 1] -= 1
            column[0] += 1
    return target


def _assign(
    order: Sequence[int],
    counts: Mapping[int, NDArray[np.int64]],
    target: NDArray[np.int64],
) -> dict[int, int] | None:
    """Return the split of each unit, as an index; None if no order gives every class to every split.

    Each unit goes where most is missing, units of several pictures first. Several orders of those are tried,
    and the one that comes closest to the targets is kept. Units of one picture fill up exactly.
    """
    large = [unit for unit in order if counts[unit].sum() > 1]
    single = [unit for unit in order if counts[unit].sum() == 1]
    best: tuple[float, dict[int, int]] | None = None
    n_draws = max(2, min(N_DRAWS, MAX_STEPS // len(order))) if large else 1
    for attempt in range(n_draws):
        if attempt == 0:
            sequence = sorted(large, key=lambda unit: -int(counts[unit].sum()))
        else:
            sequence = [large[i] for i in _shuffled(len(large), attempt)]
        filled = np.zeros_like(target)
        chosen: dict[int, int] = {}
        for unit in [*sequence, *single]:
            split = _neediest(filled, target, counts[unit])
            chosen[unit] = split
            filled[split] += counts[unit]
        if (filled > 0).all():
            distance = float((np.abs(filled - target) / target).sum())
            if best is None or distance < best[0]:
                best = distance, chosen
    return None if best is None else best[1]


def _shuffled(n: int, attempt: int) -> list[int]:
    return sorted(range(n), key=lambda i: hashlib.blake2b(f"{attempt} {i}".encode()).digest())


def _neediest(filled: NDArray[np.int64], target: NDArray[np.int64], unit: NDArray[np.int64]) -> int:
    """Return the split where the unit brings the numbers closest to their targets (least chi-square)."""
    wanted = unit > 0
    missing = (target - filled)[:, wanted] / target[:, wanted]
    gain = (unit[wanted] * (2 * missing - unit[wanted] / target[:, wanted])).sum(axis=1)
    return int(gain.argmax())
