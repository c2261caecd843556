"""Augmentation: eight orientations, shifts that repeat borders, any angle, labels that stay put."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from bloodsearch.models.fields import AugmentName
from bloodsearch.search.sampling.space import to_config
from bloodsearch.search.training import augment as module
from bloodsearch.search.training import timing
from bloodsearch.search.training.augment import N_ORIENTATIONS, augment_epoch, orient, rotated_by
from bloodsearch.search.training.device import DeviceData
from bloodsearch.search.training.predict import EVALUATION_BATCH


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def augmented(images: torch.Tensor, order: torch.Tensor, **options: Any) -> torch.Tensor:
    """All images of an epoch."""
    return torch.cat(list(augment_epoch(images, order, batch_size=8, **options)))


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (40, 28, 28, 3), dtype=torch.uint8, generator=generator(9))


def shifted(image: torch.Tensor, dy: int, dx: int, most: int) -> torch.Tensor:
    """`image` (28, 28, 3) looked at `dy` rows further down and `dx` columns further right."""
    planes = image.permute(2, 0, 1)[None].float()
    padded = F.pad(planes, (most,) * 4, mode="replicate")[0].permute(1, 2, 0).to(torch.uint8)
    return padded[most + dy : most + dy + 28, most + dx : most + dx + 28]


def test_eight_distinct_orientations_form_a_group(images: torch.Tensor) -> None:
    orientations = [orient(images, i) for i in range(8)]
    for a, b in itertools.combinations(orientations, 2):
        assert not torch.equal(a, b)
    for i, j in itertools.product(range(8), range(8)):
        composed = orient(orient(images, i), j)
        assert any(torch.equal(composed, other) for other in orientations), (i, j)
    for i in range(8):  # every one has an inverse
        assert any(torch.equal(orient(orientations[i], j), images) for j in range(8))


def test_orientations_are_what_their_bits_say(images: torch.Tensor) -> None:
    assert torch.equal(orient(images, 0), images)
    assert torch.equal(orient(images, 1), images.flip(2))
    assert torch.equal(orient(images, 2), images.flip(1))
    assert torch.equal(orient(images, 3), images.rot90(2, (1, 2)))
    assert torch.equal(orient(images, 4), images.transpose(1, 2))
    quarter_turns = {5, 6}  # one mirror and the transposition: a turn to one side or the other
    turns = [images.rot90(k, (1, 2)) for k in (1, 3)]
    assert all(any(torch.equal(orient(images, i), turn) for turn in turns) for i in quarter_turns)


@pytest.mark.parametrize(("augment", "shift"), [("none", 2), ("flips", 0), ("dihedral", 1)])
def test_every_image_is_a_version_of_the_one_its_label_belongs_to(
    images: torch.Tensor, augment: AugmentName, shift: int
) -> None:
    order = torch.randperm(len(images), generator=generator(1))
    out = augmented(images, order, augment=augment, shift=shift, generator=generator())
    assert out.shape == images.shape
    assert out.dtype == torch.uint8
    offsets = range(-shift, shift + 1)
    drawn = set()
    for i, source in enumerate(order.tolist()):
        matches = [
            (orientation, dy, dx)
            for orientation, dy, dx in itertools.product(
                range(N_ORIENTATIONS[augment]), offsets, offsets
            )
            if torch.equal(
                out[i], orient(shifted(images[source], dy, dx, shift)[None], orientation)[0]
            )
        ]
        assert len(matches) == 1, i
        drawn.add(matches[0])
    assert len(drawn) > min(3, N_ORIENTATIONS[augment] * len(offsets) ** 2 - 1)


def test_images_do_not_depend_on_the_sizes_of_the_blocks(
    images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = torch.randperm(len(images), generator=generator(1))
    whole = augmented(images, order, augment="dihedral", shift=2, generator=generator())
    monkeypatch.setattr(module, "BLOCK_BYTES", 20 * images[0].numel())
    blocks = list(
        augment_epoch(
            images, order, augment="dihedral", shift=2, generator=generator(), batch_size=8
        )
    )
    assert [len(block) for block in blocks] == [16, 16, 8]  # whole batches, at most 20 images
    assert torch.equal(torch.cat(blocks), whole)


def test_the_sources_are_left_alone(images: torch.Tensor) -> None:
    before = images.clone()
    order = torch.arange(len(images))
    augmented(images, order, augment="dihedral", shift=2, generator=generator())
    assert torch.equal(images, before)
    assert torch.equal(order, torch.arange(len(images)))


def test_the_generator_decides(images: torch.Tensor) -> None:
    order = torch.arange(len(images))

    def draw(g: torch.Generator) -> torch.Tensor:
        return augmented(images, order, augment="dihedral", shift=1, generator=g)

    state = torch.get_rng_state()
    g = generator(3)
    first, second = draw(g), draw(g)
    assert torch.equal(first, draw(generator(3)))
    assert not torch.equal(first, second)  # another epoch, other versions
    assert not torch.equal(first, draw(generator(4)))
    assert torch.equal(torch.get_rng_state(), state)  # dropout's generator is not touched


@pytest.mark.parametrize(
    ("augment", "shift", "n_groups"), [("flips", 0, 4), ("dihedral", 0, 8), ("dihedral", 1, 72)]
)
def test_all_versions_are_drawn_about_equally_often(
    augment: AugmentName, shift: int, n_groups: int
) -> None:
    n = 400 * n_groups
    image = torch.randint(0, 256, (1, 28, 28, 3), dtype=torch.uint8, generator=generator(9))
    # one image, so that a version is known by a hash of its pixels
    weights = torch.rand(28 * 28 * 3, dtype=torch.float64, generator=generator(5))
    counts: dict[float, int] = {}
    for part in range(0, n, 4_800):
        order = torch.zeros(min(4_800, n - part), dtype=torch.int64)
        out = augmented(image, order, augment=augment, shift=shift, generator=generator(part))
        for key in (out.flatten(1).double() @ weights).mul(1e3).round().tolist():
            counts[key] = counts.get(key, 0) + 1
    assert len(counts) == n_groups
    assert min(counts.values()) > 300  # 400 expected, standard deviation 20
    assert max(counts.values()) < 500


def test_a_part_of_the_images_in_any_order(images: torch.Tensor) -> None:
    order = torch.tensor([7, 7, 3])
    out = augmented(images, order, augment="flips", shift=0, generator=generator())
    for image, source in zip(out, (7, 7, 3), strict=True):
        assert any(torch.equal(image, orient(images[source : source + 1], i)[0]) for i in range(4))


@pytest.mark.parametrize("quarters", range(-2, 3))
def test_a_rotation_by_a_quarter_turn_moves_whole_pixels(
    images: torch.Tensor, quarters: int
) -> None:
    rotated = rotated_by(torch.full((40,), 90.0 * quarters), images)
    assert torch.equal(rotated, images.rot90(quarters, (1, 2)))


def test_a_rotation_is_about_the_middle() -> None:
    middle = (torch.arange(28) - 13.5).square()
    radius = (middle[:, None] + middle[None, :]).sqrt()
    disc = (220 / (1 + torch.exp(radius - 8))).to(torch.uint8)[None, :, :, None]
    for degrees in (10.0, 31.0, -45.0):
        rotated = rotated_by(torch.tensor([degrees]), disc)
        assert rotated.int().sub(disc.int()).abs().max() <= 3  # a disc looks the same


def test_what_comes_from_outside_repeats_the_border_and_nothing_wraps_round() -> None:
    halves = torch.zeros(1, 28, 28, 1, dtype=torch.uint8)
    halves[:, :, 14:] = 255
    rotated = rotated_by(torch.tensor([10.0]), halves)[0, :, :, 0]
    # bicubic values lie below 0 and above 255 beside the edge
    assert (rotated[:, :9] == 0).all()
    assert (rotated[:, -9:] == 255).all()


def test_angles_are_drawn_to_both_sides_up_to_the_largest() -> None:
    ramp = torch.arange(28, dtype=torch.uint8).mul(9)[None, None, :, None]  # grows along x only
    ramp = ramp.expand(1, 28, 28, 1).contiguous()
    order = torch.zeros(4_000, dtype=torch.int64)
    out = augmented(ramp, order, augment="none", shift=0, rotate=30.0, generator=generator())
    middle = out[:, 9:19, 9:19, 0].float()
    dx, dy = (middle.diff(dim=dim).mean((1, 2)) for dim in (2, 1))
    angles = torch.rad2deg(torch.atan2(dy, dx))
    assert -31 < angles.min() < -29
    assert 29 < angles.max() < 31
    turned = angles[(out != ramp).flatten(1).any(1)]  # the others are the source, pixel by pixel
    assert len(turned) / len(angles) == pytest.approx(module.ROTATED, abs=0.03)
    assert abs(float(turned.mean())) < 1
    assert float(turned.std()) == pytest.approx(30 / math.sqrt(3), rel=0.05)  # uniform


def test_the_labels_of_rotated_images_stay_put_in_blocks_of_any_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flat = torch.arange(40, dtype=torch.uint8)[:, None, None, None].expand(40, 28, 28, 3)
    order = torch.randperm(40, generator=generator(1))

    def draw(images: torch.Tensor) -> torch.Tensor:
        options: dict[str, Any] = {"augment": "dihedral", "shift": 2, "rotate": 180.0}
        return augmented(images, order, **options, generator=generator())

    assert torch.equal(draw(flat.contiguous())[:, 0, 0, 0].long(), order)
    pixels = torch.randint(0, 256, (40, 28, 28, 3), dtype=torch.uint8, generator=generator(9))
    whole = draw(pixels)
    monkeypatch.setattr(module, "BLOCK_BYTES", 20 * pixels[0].numel())
    monkeypatch.setattr(module, "ROTATED_BYTES", 12 * pixels[0].numel())
    assert torch.equal(draw(pixels), whole)


def test_an_epoch_is_timed_with_the_augmentation_of_all_its_blocks(
    small: DeviceData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that a glance moves by a second: so long take a block, a step and the validation."""
    config = to_config(
        {"arch": "mlp", "optimizer": "adam", "lr": 1e-3, "mlp_width": 8, "batch_size": 16, "shift": 1},
        epochs=1,
        patience=0,
    )  # fmt: skip
    n = len(small.train_images)
    assert n % 16 != 1
    assert len(small.val_images) <= EVALUATION_BATCH
    n_batches, validation = -(-n // 16), 1
    clock = itertools.count()
    monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert timing.epoch_seconds(config, small) == 1 + n_batches + validation
    monkeypatch.setattr(module, "BLOCK_BYTES", 35 * small.train_images[0].numel())  # two batches
    assert timing.epoch_seconds(config, small) == n / 32 + n_batches + validation


def test_without_angles_a_seed_gives_the_images_that_it_always_gave(images: torch.Tensor) -> None:
    g, same = generator(), generator()
    augmented(images, torch.arange(40), augment="dihedral", shift=2, generator=g)
    torch.randint(8 * 25, (40,), generator=same)
    assert torch.equal(g.get_state(), same.get_state())
