"""Augmentation of whole uint8 arrays, once per epoch, on the device of the images.

A cell has no upper side, so `dihedral` draws from all eight orientations of the square.
"""

from __future__ import annotations

import torch

from ...models.fields import AugmentName

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
) -> torch.Tensor:
    """Return augmented copies (n, s, s, c) uint8 of `images[order]`, for one epoch.

    Shifts repeat the border pixels.

    Args:
        images: uint8 images (n, s, s, c).
        order: int64 indices (n,) on the images' device.
        augment: the set of orientations to draw from.
        shift: largest shift along each axis, in pixels.
        generator: a CPU generator, so a seed gives the same images on every device.
    """
    n = len(order)
    out = torch.empty((n, *images.shape[1:]), dtype=images.dtype, device=images.device)
    n_orientations, n_offsets = N_ORIENTATIONS[augment], 2 * shift + 1
    n_groups = n_orientations * n_offsets**2
    group = torch.randint(n_groups, (n,), generator=generator)
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
