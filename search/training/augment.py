"""Augmentation of uint8 arrays, many images at a time, on the device of the images.

A cell has no upper side, so `dihedral` draws from all eight orientations of the square.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ...models.fields import AugmentName

BLOCK_BYTES = 64 * 2**20
"""Augmented images of one epoch that exist at the same time. A set of 28 x 28 pixels is one block."""
N_ORIENTATIONS = {"none": 1, "flips": 4, "dihedral": 8}


def orient(images: torch.Tensor, orientation: int) -> torch.Tensor:
    """Return images (n, s, s, c) in one of eight orientations, as a view.

    Bit 0 mirrors columns, bit 1 mirrors rows, bit 2 transposes: 0..3 are the flips, 0..7 the
    whole dihedral group of the square.
    """
    axes = [axis for axis, bit in ((2, 1), (1, 2)) if orientation & bit]
    if axes:
        images = images.flip(axes)
    return images.transpose(1, 2) if orientation & 4 else images


def augment_epoch(
    images: torch.Tensor,
    order: torch.Tensor,
    *,
    augment: AugmentName,
    shift: int,
    generator: torch.Generator,
    batch_size: int,
) -> Iterator[torch.Tensor]:
    """Yield augmented copies of `images[order]` for one epoch, in blocks (m, s, s, c) uint8.

    Shifts repeat the border pixels. The images do not depend on the sizes of the blocks.

    Args:
        images: uint8 images (n, s, s, c).
        order: int64 indices (n,) on the images' device.
        augment: the set of orientations to draw from.
        shift: largest shift along each axis, in pixels.
        generator: a CPU generator, so a seed gives the same images on every device.
        batch_size: a block is a multiple of it, and at most BLOCK_BYTES unless one batch is more.
    """
    n_groups = N_ORIENTATIONS[augment] * (2 * shift + 1) ** 2
    group = torch.randint(n_groups, (len(order),), generator=generator)
    size = max(1, BLOCK_BYTES // images[0].numel() // batch_size) * batch_size
    for chosen, part in zip(torch.split(order, size), torch.split(group, size), strict=True):
        yield _augmented(images, chosen, part, n_groups, shift)


def _augmented(
    images: torch.Tensor, order: torch.Tensor, group: torch.Tensor, n_groups: int, shift: int
) -> torch.Tensor:
    """Return copies of `images[order]`, each turned and shifted as its group (n,) says."""
    out = torch.empty((len(order), *images.shape[1:]), dtype=images.dtype, device=images.device)
    n_offsets = 2 * shift + 1
    by_group = torch.argsort(group, stable=True)
    bounds = torch.searchsorted(group[by_group], torch.arange(n_groups + 1)).tolist()
    by_group = by_group.to(images.device)
    index = _clamped_range(images.shape[1], shift, images.device)
    for g in range(n_groups):
        rows = by_group[bounds[g] : bounds[g + 1]]
        if len(rows) == 0:
            continue
        orientation, offset = divmod(g, n_offsets**2)
        dy, dx = divmod(offset, n_offsets)
        batch = images.index_select(0, order.index_select(0, rows))
        if shift:
            batch = batch.index_select(1, index[dy]).index_select(2, index[dx])
        out.index_copy_(0, rows, orient(batch, orientation).contiguous())
    return out


def _clamped_range(size: int, shift: int, device: torch.device) -> list[torch.Tensor]:
    """Return, for each offset in -shift..shift, the source index of every pixel along one axis."""
    pixels = torch.arange(size, device=device)
    return [(pixels + offset).clamp(0, size - 1) for offset in range(-shift, shift + 1)]
