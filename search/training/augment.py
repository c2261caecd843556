"""Augmentation of uint8 arrays, many images at a time, on the device of the images.

A cell has no upper side, so `dihedral` draws from all eight orientations of the square. These and the shifts
move whole pixels. A rotation by any other angle needs values between the pixels: they are bicubic, because
bilinear ones blur what the validation images show sharply.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.nn import functional as F

from ...models.fields import AugmentName

BLOCK_BYTES = 64 * 2**20
"""Augmented images of one epoch that exist at the same time. A set of 28 x 28 pixels is one block."""
ROTATED = 2 / 3
"""The share of images that are turned by any angle, if any are. The others stay as sharp as in validation."""
ROTATED_BYTES = 8 * 2**20
"""Float images that are rotated at the same time, at most, unless one image is more."""
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


def block_size(images: torch.Tensor, batch_size: int) -> int:
    """Return how many of the images (n, s, s, c) are augmented together: a multiple of a batch."""
    return max(1, BLOCK_BYTES // images[0].numel() // batch_size) * batch_size


def augment_epoch(
    images: torch.Tensor,
    order: torch.Tensor,
    *,
    augment: AugmentName,
    shift: int,
    rotate: float = 0.0,
    generator: torch.Generator,
    batch_size: int,
) -> Iterator[torch.Tensor]:
    """Yield augmented copies of `images[order]` for one epoch, in blocks (m, s, s, c) uint8.

    What comes from outside an image repeats its border pixels. The images do not depend on the sizes of the
    blocks.

    Args:
        images: uint8 images (n, s, s, c).
        order: int64 indices (n,) on the images' device.
        augment: the set of orientations to draw from.
        shift: largest shift along each axis, in pixels.
        rotate: largest rotation to either side, in degrees, of the share ROTATED of the images.
        generator: a CPU generator, so a seed draws the same versions on every device.
        batch_size: a block is a multiple of it, and at most BLOCK_BYTES unless one batch is more.
    """
    n_groups = N_ORIENTATIONS[augment] * (2 * shift + 1) ** 2
    group = torch.randint(n_groups, (len(order),), generator=generator)
    angles = _draw_angles(len(order), rotate, generator) if rotate else None
    size = block_size(images, batch_size)
    starts = range(0, len(order), size)
    for start, chosen, part in zip(
        starts, torch.split(order, size), torch.split(group, size), strict=True
    ):
        if angles is None:
            yield _augmented(images, chosen, part, n_groups, shift)
            continue
        block, angle = images.index_select(0, chosen), angles[start : start + size]
        turned = angle.nonzero().squeeze(1)
        # a few at a time, in place: a worker's memory would grow by two thirds of a block otherwise
        for rows in torch.split(turned, max(1, ROTATED_BYTES // (4 * images[0].numel()))):
            there = rows.to(images.device)
            block.index_copy_(0, there, rotated_by(angle[rows], block.index_select(0, there)))
        in_order = torch.arange(len(chosen), device=images.device)
        yield _augmented(block, in_order, part, n_groups, shift)


def _draw_angles(n: int, rotate: float, generator: torch.Generator) -> torch.Tensor:
    """Draw the angle (n,) of each image in degrees; 0 for those that are not turned."""
    angle, chance = torch.rand(2, n, generator=generator).unbind()
    return torch.where(chance < ROTATED, rotate * (2 * angle - 1), 0.0)


def rotated_by(degrees: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Return uint8 images (n, s, s, c), each turned about its middle by its angle (n,); bicubic."""
    # whether mps has bicubic sampling was never tried; 28 x 28 pixels take 0.05 ms on a CPU
    device = torch.device("cpu") if images.device.type == "mps" else images.device
    angle = torch.deg2rad(degrees)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    # the rows of a matrix that takes a place (x, y) of the new image to the place in the source
    theta = torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3).to(device)
    planes = images.to(device).permute(0, 3, 1, 2).float().contiguous()
    grid = F.affine_grid(theta, list(planes.shape), align_corners=False)
    sampled = F.grid_sample(
        planes, grid, mode="bicubic", padding_mode="border", align_corners=False
    )
    # bicubic values overshoot beside edges; uint8 would wrap round
    values = sampled.round_().clamp_(0, 255).to(torch.uint8)
    return values.permute(0, 2, 3, 1).contiguous().to(images.device)


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
