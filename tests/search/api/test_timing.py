"""Measuring the speed of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from bloodsearch.search.api.placement import Placement
from bloodsearch.search.api.timing import epoch_seconds
from bloodsearch.search.errors import BloodsearchError
from bloodsearch.search.sampling.space import Params, to_config

pytestmark = pytest.mark.slow


def test_a_large_model_takes_longer_than_a_small_one() -> None:
    base: Params = {"arch": "mlp", "optimizer": "adam", "lr": 1e-3, "mlp_depth": 3}
    configs = [to_config(base | {"mlp_width": width}, epochs=3, patience=0) for width in (8, 2048)]
    slots = Placement(workers=2).slots(1)
    small, large = epoch_seconds(configs, slots, dataset="synthetic")
    assert 0 < small < large / 3


def test_a_child_that_fails_is_one_line(tmp_path: Path) -> None:
    config = to_config({"arch": "mlp", "optimizer": "adam", "lr": 1e-3}, epochs=3, patience=0)
    with pytest.raises(
        BloodsearchError, match=r"could not be measured: .*bloodmnist.npz is not in"
    ):
        epoch_seconds([config], Placement(workers=1).slots(1), data_root=tmp_path)
