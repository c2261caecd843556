"""Draw a stand-in for BloodMNIST with its shapes, dtypes and class counts. It needs no file.

Each image is a numpy drawing of one stained blood cell (class order as in BloodMNIST: basophil,
eosinophil, erythroblast, immature granulocyte, lymphocyte, monocyte, neutrophil, platelet). The
classes differ in nucleus shape, granules, size and stain; position, rotation, stain, focus and
noise vary in all of them, and a share of cells mixes its traits with a look-alike class.
"""

from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import registry
from .info import DatasetInfo
from .synthetic_drawing import MAX_LOBES, RED_CELLS, SIDE, Cells, draw

SYNTHETIC_VERSION: int = 1  # bump when pixels change

F64: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Split: TypeAlias = Literal["train", "val", "test"]

_MIN_PER_CLASS = 2
_CHUNK = 32  # images drawn at once: one float32 plane is 0.1 MB, so the work stays in cache

# Official BloodMNIST class counts.
_COUNTS: dict[str, tuple[int, ...]] = {
    "train": (852, 2181, 1085, 2026, 849, 993, 2330, 1643),
    "val": (122, 312, 155, 290, 122, 143, 333, 235),
    "test": (244, 624, 311, 579, 243, 284, 666, 470),
}
INFO: DatasetInfo = registry.registered("bloodmnist").model_copy(
    update={
        "name": registry.SYNTHETIC,
        "title": "the synthetic set",
        "about": "drawings of blood cells",
        "source": "drawn by bloodsearch",
        "license": "",
        "citations": (),
    }
)
_SPLIT_KEY = {"train": 1, "val": 2, "test": 3}

# Traits by class. Radius is in pixels; lobe, ring, offset and notch are fractions of it; step is
# the angle in radians between neighbouring nucleus lobes on their ring.
_RADIUS = np.array([8.6, 9.1, 6.6, 9.8, 7.4, 11.0, 9.3, 2.9])
_RADIUS_SD = np.array([0.9, 0.9, 0.8, 1.0, 0.8, 1.0, 0.9, 0.5])
_LOBES_MIN = np.array([1, 2, 1, 1, 1, 1, 3, 1])
_LOBES_MAX = np.array([2, 2, 1, 1, 1, 1, 5, 1])
_LOBE = np.array([0.66, 0.42, 0.55, 0.74, 0.86, 0.72, 0.31, 0.55])
_RING = np.array([0.22, 0.45, 0.0, 0.0, 0.0, 0.0, 0.48, 0.0])
_STEP = np.array([2.2, 2.7, 0.0, 0.0, 0.0, 0.0, 1.2, 0.0])
_OFFSET = np.array([0.08, 0.08, 0.2, 0.14, 0.07, 0.12, 0.08, 0.1])
_NOTCH = np.array([0.0, 0.0, 0.0, 0.15, 0.0, 0.45, 0.0, 0.0])
_GRAIN = np.array([0.8, 0.6, 0.05, 0.5, 0.05, 0.05, 0.2, 0.2])  # opacity of the granules
_OVER_NUCLEUS = np.array([1.0, 0.1, 0.0, 0.4, 0.0, 0.0, 0.0, 0.0])  # share of it on the nucleus
# Colours in 0..1: RGB of the cytoplasm, of the granules, of the nucleus.
_STAINS = np.array(
    [
        (0.70, 0.56, 0.73, 0.24, 0.10, 0.40, 0.34, 0.17, 0.52),
        (0.83, 0.60, 0.68, 0.88, 0.43, 0.42, 0.35, 0.19, 0.54),
        (0.72, 0.72, 0.80, 0.60, 0.50, 0.66, 0.30, 0.17, 0.48),
        (0.74, 0.56, 0.76, 0.55, 0.28, 0.58, 0.40, 0.20, 0.55),
        (0.66, 0.62, 0.82, 0.58, 0.46, 0.70, 0.35, 0.19, 0.54),
        (0.66, 0.62, 0.76, 0.58, 0.42, 0.66, 0.41, 0.23, 0.57),
        (0.83, 0.67, 0.74, 0.72, 0.44, 0.60, 0.34, 0.18, 0.52),
        (0.66, 0.50, 0.72, 0.45, 0.26, 0.56, 0.46, 0.28, 0.60),
    ]
).reshape(8, 3, 3)
_SMEAR = np.array([0.98, 0.88, 0.79])
_RED_CELL = np.array([0.85, 0.72, 0.69])

# A real slide has cells that experts disagree on: this share takes each group of traits (size,
# stain, nucleus, granules) from its own class or from one of two look-alikes, by a coin flip.
_AMBIGUOUS = 0.07
_LOOKALIKES = np.array([(3, 1), (6, 0), (4, 4), (5, 0), (2, 5), (3, 4), (1, 3), (2, 4)])


def make_split(
    split: Split, n_images: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw one split; the same arguments always give the same arrays.

    Args:
        split: "train" (11,959 images), "val" (1,712) or "test" (3,421).
        n_images: size of a smaller set with the split's class proportions, each class at least
            twice; None for the whole split.

    Returns:
        Images (n, 28, 28, 3) uint8, RGB in 0..255, and labels (n,) uint8 in 0..7, rows shuffled.

    Raises:
        ValueError: `split` is another word, or `n_images` is below 16 or above the split's size.
    """
    if split not in _COUNTS:
        raise ValueError(f"split must be one of {', '.join(_COUNTS)}; got {split!r}")
    counts = _class_counts(split, n_images)
    seed = np.random.SeedSequence([SYNTHETIC_VERSION, _SPLIT_KEY[split]])
    rng = np.random.Generator(np.random.PCG64(seed))
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    cells = _sample_cells(rng, labels)
    images = np.empty((len(labels), SIDE, SIDE, 3), np.uint8)
    for start in range(0, len(labels), _CHUNK):
        rows = slice(start, start + _CHUNK)
        images[rows] = draw(rng, Cells(*(values[rows] for values in cells)))
    return images, labels.astype(np.uint8)


def _class_counts(split: str, n_images: int | None) -> Ints:
    """Return images per class, (8,): the official counts or their largest-remainder share."""
    full = np.array(_COUNTS[split], np.int64)
    if n_images is None:
        return full
    least = _MIN_PER_CLASS * len(full)
    if not least <= n_images <= full.sum():
        raise ValueError(
            f"n_images for {split} must be from {least} to {full.sum()}; got {n_images}"
        )
    share = full * (n_images / full.sum())
    counts: Ints = np.maximum(np.floor(share).astype(np.int64), _MIN_PER_CLASS)
    while counts.sum() < n_images:
        counts[np.argmax(share - counts)] += 1
    while counts.sum() > n_images:  # the minimum lifted rare classes: take from the largest excess
        counts[np.argmax(np.where(counts > _MIN_PER_CLASS, counts - share, -np.inf))] -= 1
    return counts


def _sample_cells(rng: np.random.Generator, labels: Ints) -> Cells:
    """Draw every image's parameters from its class's traits."""
    n = len(labels)
    size, stain, nucleus, granules = _trait_classes(rng, labels)
    radius = (_RADIUS[size] + _RADIUS_SD[size] * rng.normal(size=n)) * rng.normal(1, 0.05, n)
    radius = np.maximum(radius, 1.6)
    turn = rng.uniform(0, 2 * np.pi, n)
    centre = 13.5 + np.clip(rng.normal(0, 1.5, (n, 2)), -3.5, 3.5)
    stretch = rng.uniform(1.0, 1.16, n)
    lobes, notch = _sample_nucleus(rng, nucleus, radius)
    grain = _GRAIN[granules] * rng.uniform(0.7, 1.2, n)
    camera = [rng.normal(1, 0.03, (n, 1)) + rng.normal(0, 0.02, (n, 3))]
    camera += [rng.uniform(0.0, 0.24, (n, 1)), rng.uniform(0.02, 0.08, (n, 1))]
    parts = (
        np.column_stack([centre, np.cos(turn), np.sin(turn)]),
        np.column_stack([radius, stretch, rng.uniform(0.1, 0.9, n)]),
        lobes,
        notch,
        np.column_stack([grain, grain * _OVER_NUCLEUS[granules]]),
        _sample_around(rng, n),
        _sample_paint(rng, stain, granules),
        np.column_stack(camera),
    )
    return Cells(*(part.astype(np.float32) for part in parts))


def _trait_classes(rng: np.random.Generator, labels: Ints) -> Ints:
    """Return (4, n): the classes that give size, stain, nucleus and granules."""
    n = len(labels)
    other = _LOOKALIKES[labels, rng.integers(0, 2, n)]
    swap = (rng.random((4, n)) < 0.5) & (rng.random(n) < _AMBIGUOUS)
    classes: Ints = np.where(swap, other, labels)
    return classes


def _sample_nucleus(rng: np.random.Generator, kind: Ints, radius: F64) -> tuple[F64, F64]:
    """Draw lobes (n, 5, 3) and notch (n, 3) in the cell's frame."""
    n = len(kind)
    count = rng.integers(_LOBES_MIN[kind], _LOBES_MAX[kind] + 1)
    order = np.arange(MAX_LOBES)
    angle = order * _STEP[kind, None] + rng.normal(0, 0.16, (n, MAX_LOBES))
    ring = _RING[kind, None] * rng.normal(1, 0.12, (n, MAX_LOBES)) * radius[:, None]
    middle = rng.normal(0, 1, (n, 2)) * (_OFFSET[kind] * radius)[:, None]
    size = _LOBE[kind, None] * rng.normal(1, 0.09, (n, MAX_LOBES)) * radius[:, None]
    size = np.where(order < count[:, None], size, -9.0)
    u, v = middle[:, :1] + ring * np.cos(angle), middle[:, 1:] + ring * np.sin(angle)
    depth = _NOTCH[kind] * rng.uniform(0.6, 1.3, n) * radius
    depth = np.where(_NOTCH[kind] > 0, depth, -9.0)
    reach = _LOBE[kind] * radius  # the notch bites into the nucleus's rim
    notch = np.column_stack([middle[:, 0] + reach, middle[:, 1], depth])
    return np.stack([u, v, size], axis=2), notch


def _sample_around(rng: np.random.Generator, n: int) -> F64:
    """Draw neighbours in the smear, (n, 5, 3): red cells, and sometimes a platelet."""
    angle = rng.uniform(0, 2 * np.pi, (n, RED_CELLS + 1))
    far = rng.uniform(8.5, 18.0, (n, RED_CELLS + 1))
    size = rng.uniform(3.6, 5.4, (n, RED_CELLS + 1))
    size[rng.random(size.shape) < 0.25] = -9.0
    speck = rng.uniform(0.9, 2.4, n)
    size[:, -1] = np.where(rng.random(n) < 0.3, speck, -9.0)
    return np.stack([13.5 + far * np.cos(angle), 13.5 + far * np.sin(angle), size], axis=2)


def _sample_paint(rng: np.random.Generator, stain: Ints, granules: Ints) -> F64:
    """Draw colours (n, 5, 3): smear, red cell, cytoplasm, granules, nucleus."""
    n = len(stain)
    smear, red = np.broadcast_to(_SMEAR, (n, 3)), np.broadcast_to(_RED_CELL, (n, 3))
    layers = [smear, red, _STAINS[stain, 0], _STAINS[granules, 1], _STAINS[stain, 2]]
    paint = np.stack(layers, axis=1)
    paint = paint + rng.normal(0, 1, (n, 5, 3)) * np.array([0.01, 0.02, 0.035, 0.04, 0.03])[:, None]
    # One staining strength per slide scales how much light all layers absorb.
    strength = rng.uniform(0.76, 1.12, (n, 1, 1))
    stained: F64 = paint[:, :1] + (paint - paint[:, :1]) * strength
    return stained
