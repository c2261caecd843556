"""Draw stained blood cells from their parameters, many images at a time."""

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]

SIDE = 28
MAX_LOBES = 5
RED_CELLS = 4


class Cells(NamedTuple):
    """Drawing parameters, one row per image; lengths in pixels, colours in 0..1."""

    frame: F32  # (n, 4): centre x, y, then cos and sin of the rotation
    shape: F32  # (n, 3): radius, stretch, unevenness of the outline
    lobes: F32  # (n, 5, 3): u, v, radius in the cell's frame; radius below 0 is no lobe
    notch: F32  # (n, 3): as a lobe, cut out of the nucleus
    grain: F32  # (n, 2): opacity of granules on the cytoplasm and on the nucleus
    around: F32  # (n, 5, 3): x, y, radius of red cells and (last) of a stray platelet
    paint: F32  # (n, 5, 3): smear, red cell, cytoplasm, granules, nucleus
    camera: F32  # (n, 5): gain by channel, blur weight, noise amplitude


def draw(rng: np.random.Generator, cells: Cells) -> NDArray[np.uint8]:
    """Draw cells as images (n, 28, 28, 3). Only exactly rounded operations touch pixels, for portability."""
    n = len(cells.frame)
    pixel = np.arange(SIDE * SIDE)
    x, y = (pixel % SIDE).astype(np.float32), (pixel // SIDE).astype(np.float32)
    dx, dy = x - cells.frame[:, 0, None], y - cells.frame[:, 1, None]
    cos, sin, stretch = cells.frame[:, 2, None], cells.frame[:, 3, None], cells.shape[:, 1, None]
    u: F32 = np.divide(dx * cos + dy * sin, stretch)
    v: F32 = (dy * cos - dx * sin) * stretch
    grain = _grain(rng, n)
    uneven = grain * cells.shape[:, 2, None] * 0.5

    paint = cells.paint[..., None]
    image = np.repeat(paint[:, 0], SIDE * SIDE, axis=2)
    red, speck = _neighbours(x, y, cells.around)
    _cover(image, red, paint[:, 1])
    _cover(image, speck, paint[:, 4])

    radius = cells.shape[:, 0, None]
    body = np.clip(radius - np.sqrt(u * u + v * v) + uneven, 0, 1)
    nucleus = np.minimum(np.clip(_nucleus(u, v, cells) + uneven, 0, 1), body)
    granules = np.clip(grain * 1.4, 0, 1)
    _cover(image, body * np.float32(0.9), paint[:, 2])
    _cover(image, body * granules * cells.grain[:, :1], paint[:, 3])
    _cover(image, nucleus * (np.float32(0.93) - np.abs(grain) * np.float32(0.1)), paint[:, 4])
    _cover(image, nucleus * granules * cells.grain[:, 1:], paint[:, 3])
    return _photograph(rng, image, cells.camera)


def _cover(image: F32, alpha: F32, colour: F32) -> None:
    """Blend `colour` (n, 3, 1) over `image` (n, 3, pixels) in place."""
    image += (colour - image) * alpha[:, None]


def _grain(rng: np.random.Generator, n: int) -> F32:
    """Return random blotches about two pixels wide, (n, pixels), with mean 0 and spread about 1."""
    noise = rng.random((n, SIDE + 1, SIDE + 1), dtype=np.float32) - np.float32(0.5)
    rows = noise[:, 1:] + noise[:, :-1]
    return ((rows[:, :, 1:] + rows[:, :, :-1]) * np.float32(1.7)).reshape(n, -1)


def _neighbours(x: F32, y: F32, around: F32) -> tuple[F32, F32]:
    """Return the opacity (n, pixels) of the red cells (pale in the middle) and of the stray platelet."""
    red = np.zeros((len(around), x.size), np.float32)
    speck = np.zeros_like(red)
    for index in range(RED_CELLS + 1):
        rows = np.flatnonzero(around[:, index, 2] > 0)
        cx, cy, size = around[rows, index, :, None].transpose(1, 0, 2)
        dx, dy = x - cx, y - cy
        inside = size - np.sqrt(dx * dx + dy * dy)
        if index == RED_CELLS:
            speck[rows] = np.clip(inside, 0, 1) * np.float32(0.8)
        else:
            disc = np.clip(inside, 0, 1) - np.clip(inside * 0.5 - 1, 0, 1) * np.float32(0.6)
            red[rows] = np.maximum(red[rows], disc)
    return red, speck


def _nucleus(u: F32, v: F32, cells: Cells) -> F32:
    """Return the depth inside the nucleus in pixels (n, pixels), negative outside."""
    depth = np.full_like(u, -9.0)
    for index in range(MAX_LOBES):
        rows = np.flatnonzero(cells.lobes[:, index, 2] > 0)
        lu, lv, size = cells.lobes[rows, index, :, None].transpose(1, 0, 2)
        du, dv = u[rows] - lu, v[rows] - lv
        depth[rows] = np.maximum(depth[rows], size - np.sqrt(du * du + dv * dv))
    rows = np.flatnonzero(cells.notch[:, 2] > 0)
    nu, nv, size = cells.notch[rows, :, None].transpose(1, 0, 2)
    du, dv = u[rows] - nu, v[rows] - nv
    depth[rows] = np.minimum(depth[rows], np.sqrt(du * du + dv * dv) - size)
    return depth


def _photograph(rng: np.random.Generator, image: F32, camera: F32) -> NDArray[np.uint8]:
    """Add blur, gain and sensor noise: (n, 3, pixels) in 0..1 to (n, 28, 28, 3) uint8."""
    n = len(image)
    planes: F32 = image.reshape(n, 3, SIDE, SIDE)
    weight = camera[:, 3, None, None, None]
    for axis in (2, 3):
        edge = [(0, 0)] * 4
        edge[axis] = (1, 1)
        wide = np.pad(planes, edge, mode="edge")
        near = wide[:, :, :-2] + wide[:, :, 2:] if axis == 2 else wide[..., :-2] + wide[..., 2:]
        planes = planes + (near - planes - planes) * weight
    noise = rng.integers(0, 256, planes.shape, dtype=np.uint8) * np.float32(1 / 255)
    planes = planes * camera[:, :3, None, None] + (noise - 0.5) * camera[:, 4, None, None, None]
    return np.clip(np.rint(planes * 255), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
