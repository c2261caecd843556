"""The networks: sizes that paper arithmetic gives, shapes, and what pooling first leaves equal."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bloodsearch.models import CNNConfig, MLPConfig, Shape, build_model, parse_model_config
from bloodsearch.models.cnn import Block
from bloodsearch.search.sampling.space import baseline_params, to_config
from bloodsearch.studies import load_study_file

PIXELS = 28 * 28 * 3
# Weights and biases, layer by layer.
A_MLP = (PIXELS * 1024 + 1024) + (1024 * 8 + 8)
B_MLP = (PIXELS * 1180 + 1180) + (1180 * 1180 + 1180) + (1180 * 8 + 8)
CONVOLUTIONS = (3 * 9 * 32 + 32) + (32 * 9 * 64 + 64) + (64 * 9 * 128 + 128)
FEATURES = 128 * 3 * 3  # 28 -> 14 -> 7 -> 3 pixels a side
A_CNN = CONVOLUTIONS + (FEATURES * 128 + 128) + (128 * 8 + 8)
B_CNN = CONVOLUTIONS + (FEATURES * 256 + 256) + (256 * 128 + 128) + (128 * 8 + 8)
REPORTED = {"A-mlp": A_MLP, "B-mlp": B_MLP, "A-cnn": A_CNN, "B-cnn": B_CNN}
# the sizes of report A's capacity figure
SIZES = {
    "A-mlp-64": (PIXELS * 64 + 64) + (64 * 8 + 8),
    "A-mlp-256": (PIXELS * 256 + 256) + (256 * 8 + 8),
    "A-mlp-4096": (PIXELS * 4096 + 4096) + (4096 * 8 + 8),
    "A-mlp-1024x2": (PIXELS * 1024 + 1024) + (1024 * 1024 + 1024) + (1024 * 8 + 8),
}


def n_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("study", "name"),
    [
        (study, baseline.name)
        for study in ("report_a", "report_b", "bloodmnist")
        for baseline in load_study_file(study).baselines
    ],
)
def test_the_reports_models_have_their_number_of_parameters(study: str, name: str) -> None:
    found = {baseline.name: baseline for baseline in load_study_file(study).baselines}
    config = to_config(baseline_params(found[name]), epochs=1, patience=0)
    assert n_parameters(build_model(config.model)) == SIZES.get(name, REPORTED[name[:5]])


def test_the_reports_sizes_as_numbers() -> None:
    # so that a slip in the arithmetic above cannot hide behind the same slip in the code
    assert (A_MLP, B_MLP, A_CNN, B_CNN) == (2_417_672, 4_179_568, 241_864, 422_344)


def cnn_parameters(config: CNNConfig) -> int:
    """Parameters of a CNN, counted by hand."""
    total, n_in = 0, 3
    per_channel = 2 if config.norm else 1  # scale and shift of the norm, else a bias
    for width in config.widths:
        for _ in range(config.convs):
            total += n_in * config.kernel**2 * width + per_channel * width
            n_in = width
    side = {1: 14, 2: 7, 3: 3, 4: 1}[len(config.widths)]
    n_in *= side**2 if config.head == "flatten" else 1
    for width in config.hidden:
        total += n_in * width + per_channel * width
        n_in = width
    return total + n_in * 8 + 8


def grid() -> Iterator[CNNConfig]:
    """Every combination of blocks, norm and convolutions; the other settings drawn at random."""
    rng = random.Random(0)
    blocks = ((1, False), (2, False), (2, True))
    for n_blocks, norm, (convs, residual) in itertools.product((1, 2, 3, 4), (False, True), blocks):
        for head in ("flatten", "mean", "max"):
            yield CNNConfig(
                widths=(5, 7, 6, 4)[:n_blocks],
                norm=norm,
                convs=convs,
                residual=residual,
                head=head,
                pool=rng.choice(("max", "avg")),
                kernel=rng.choice((3, 5, 7)),
                hidden=rng.choice(((), (9,), (9, 6))),
                dropout=0.5,
            )


def test_every_cnn_of_a_grid_has_its_size_and_gives_logits() -> None:
    with torch.device("meta"):  # shapes without the arithmetic
        images = torch.zeros(2, 3, 28, 28)
        for config in grid():
            model = build_model(config)
            assert n_parameters(model) == cnn_parameters(config), config
            assert model(images).shape == (2, 8), config


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("widths", [(), (9,), (9, 6), (4,) * 8])
def test_every_mlp_has_its_size_and_gives_logits(widths: tuple[int, ...], norm: bool) -> None:
    model = build_model(MLPConfig(widths=widths, norm=norm, dropout=0.5))
    total, n_in = 0, PIXELS
    for width in widths:
        total += n_in * width + (2 if norm else 1) * width
        n_in = width
    assert n_parameters(model) == total + n_in * 8 + 8
    assert model(torch.zeros(2, 3, 28, 28)).shape == (2, 8)


@pytest.mark.parametrize(
    "config", [MLPConfig(widths=(16,)), CNNConfig(widths=(8, 8), norm=True)], ids=["mlp", "cnn"]
)
def test_the_memory_format_of_the_images_does_not_matter(config: MLPConfig | CNNConfig) -> None:
    torch.manual_seed(0)
    model = build_model(config).eval()
    images = torch.rand(4, 3, 28, 28)
    channels_last = images.to(memory_format=torch.channels_last)
    torch.testing.assert_close(model(channels_last), model(images), rtol=1e-5, atol=1e-5)


def test_the_seed_decides_the_weights() -> None:
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(build_model(CNNConfig(widths=(8,))).state_dict()["blocks.0.conv1.weight"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_max_pooling_before_the_relu_is_the_same_function_as_after() -> None:
    torch.manual_seed(0)
    block = Block(3, 8, CNNConfig(widths=(8,), kernel=5)).eval()
    images = torch.rand(4, 3, 28, 28) * 2 - 1
    usual = F.max_pool2d(
        F.relu(F.conv2d(images, block.conv1.weight, block.conv1.bias, padding=2)), 2
    )
    assert torch.equal(block(images), usual)
    assert (usual == 0).any()  # else the order of ReLU and pooling could not show
    assert (usual > 0).any()


def test_average_pooling_averages() -> None:
    block = Block(3, 8, CNNConfig(widths=(8,), pool="avg")).eval()
    images = torch.rand(4, 3, 28, 28) * 2 - 1
    pooled = F.avg_pool2d(block.conv1(images), 2)
    torch.testing.assert_close(block(images), pooled.relu())


@pytest.mark.parametrize("residual", [False, True])
def test_a_second_convolution_follows_at_the_pooled_size(residual: bool) -> None:
    torch.manual_seed(0)
    config = CNNConfig(widths=(8,), convs=2, residual=residual)
    block = Block(3, 8, config).eval()
    images = torch.rand(4, 3, 28, 28) * 2 - 1
    first = F.max_pool2d(block.conv1(images), 2).relu()
    assert block.conv2 is not None
    second = block.conv2(first).relu()
    torch.testing.assert_close(block(images), first + second if residual else second)


@pytest.mark.parametrize(
    ("head", "reduce"),
    [
        ("mean", lambda maps: maps.mean(dim=(2, 3))),
        ("max", lambda maps: maps.amax(dim=(2, 3))),
        ("flatten", lambda maps: maps.reshape(len(maps), -1)),
    ],
)
def test_the_head_turns_feature_maps_into_a_vector(head: str, reduce: object) -> None:
    assert callable(reduce)
    torch.manual_seed(0)
    model = build_model(CNNConfig.model_validate({"widths": (8, 8), "head": head}))
    images = torch.rand(4, 3, 28, 28)
    blocks, last = model.get_submodule("blocks"), model.get_submodule("classifier.0")
    torch.testing.assert_close(model(images), last(reduce(blocks(images))))


@pytest.mark.parametrize(
    "config",
    [
        MLPConfig(widths=(64,), dropout=0.5),
        CNNConfig(widths=(8,), dropout=0.5),
        CNNConfig(widths=(8,), hidden=(32,), dropout=0.5),
    ],
    ids=["mlp", "cnn", "cnn-hidden"],
)
def test_dropout_works_in_training_only(config: MLPConfig | CNNConfig) -> None:
    torch.manual_seed(0)
    model, images = build_model(config), torch.rand(4, 3, 28, 28)
    assert not torch.equal(model(images), model(images))
    model.eval()
    assert torch.equal(model(images), model(images))


@pytest.mark.parametrize(
    ("size", "stem", "blocks"), [(64, 2, 4), (128, 4, 4), (224, 4, 5), (9, 2, 2)]
)
@pytest.mark.parametrize("head", ["flatten", "mean"])
def test_a_stem_makes_large_images_affordable(size: int, stem: int, blocks: int, head: str) -> None:
    shape = Shape(size=size, channels=1, classes=5)
    config = CNNConfig.model_validate(
        {"shape": shape, "stem": stem, "widths": [4] * blocks, "head": head}
    )
    model = build_model(config)
    images = torch.zeros(2, 1, size, size)
    assert model(images).shape == (2, 5)
    assert model.blocks(images).shape[-1] == config.feature_size  # type: ignore[operator]


def test_configurations_of_the_first_shape_are_stored_as_they_were() -> None:
    stored = CNNConfig(widths=(8,)).model_dump(mode="json")
    assert not {"shape", "stem"} & set(stored)
    other = CNNConfig(widths=(8,), shape=Shape(size=64, channels=1, classes=2), stem=2)
    assert parse_model_config(other.model_dump(mode="json")) == other
