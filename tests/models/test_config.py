"""Model configurations: what they refuse, that they are frozen, and their way through JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from bloodsearch.models import CNNConfig, MLPConfig, parse_model_config


@pytest.mark.parametrize(
    "data",
    [
        {"arch": "mlp", "widths": [64, 32], "dropout": 0.5, "norm": True},
        {"arch": "mlp", "widths": []},
        {"arch": "cnn", "widths": [8]},
        {"arch": "cnn", "widths": [8, 16], "convs": 2, "residual": True, "hidden": [64, 32]},
    ],
)
def test_a_configuration_survives_json(data: dict[str, Any]) -> None:
    config = parse_model_config(data)
    assert type(config) is (MLPConfig if data["arch"] == "mlp" else CNNConfig)
    stored = json.loads(config.model_dump_json())
    assert parse_model_config(stored) == config
    assert parse_model_config(config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"arch": "cnn", "widths": [8], "residual": True}, "residual needs convs = 2"),
        ({"arch": "cnn", "widths": []}, "at least 1"),
        ({"arch": "cnn", "widths": [8] * 7}, "at most 6"),
        ({"arch": "cnn", "widths": [0]}, "greater than or equal to 1"),
        ({"arch": "cnn", "widths": [8193]}, "less than or equal to 8192"),
        ({"arch": "cnn", "widths": [8], "kernel": 4}, "3, 5 or 7"),
        ({"arch": "cnn", "widths": [8], "convs": 3}, "less than or equal to 2"),
        ({"arch": "cnn", "widths": [8], "pool": "sum"}, "'max' or 'avg'"),
        ({"arch": "cnn", "widths": [8], "head": "sum"}, "'flatten', 'mean' or 'max'"),
        ({"arch": "cnn", "widths": [8], "hidden": [0]}, "greater than or equal to 1"),
        ({"arch": "cnn", "widths": [8], "dropout": 1.0}, "less than or equal to 0.95"),
        ({"arch": "cnn", "widths": [8], "dropout": float("nan")}, "less than or equal to 0.95"),
        ({"arch": "cnn", "widths": [8], "depth": 3}, "Extra inputs"),
        ({"arch": "mlp", "widths": [8], "kernel": 3}, "Extra inputs"),
        ({"arch": "mlp", "widths": [-1]}, "greater than or equal to 1"),
        ({"arch": "mlp", "widths": [8] * 9}, "at most 8"),
        ({"arch": "mlp", "widths": [8], "dropout": -0.1}, "greater than or equal to 0"),
        ({"arch": "mlp"}, "Field required"),
        ({"arch": "resnet", "widths": [8]}, "'mlp', 'cnn'"),
        ({"widths": [8]}, "discriminator"),
        ([], "valid dictionary"),
    ],
)
def test_a_bad_configuration_is_refused(data: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        parse_model_config(data)


def test_configurations_are_frozen_and_hashable() -> None:
    for config in (MLPConfig(widths=(8,)), CNNConfig(widths=(8,))):
        with pytest.raises(ValidationError, match="frozen"):
            config.dropout = 0.5  # type: ignore[misc]
        assert len({config, config.model_copy()}) == 1


@pytest.mark.parametrize(("blocks", "side"), [(1, 14), (2, 7), (3, 3), (4, 1)])
def test_feature_size_is_the_side_after_halving_blocks_times(blocks: int, side: int) -> None:
    assert CNNConfig(widths=(8,) * blocks).feature_size == side
