"""The registry of data sets against medmnist's own, whose import takes seconds."""

from __future__ import annotations

import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest

from bloodsearch.search.data import registry
from bloodsearch.search.data.registry import of_file, official, registered
from bloodsearch.search.errors import UsageError

TASKS = {
    "multi-class": "multi-class",
    "binary-class": "binary",
    "ordinal-regression": "ordinal",
    "multi-label, binary-class": "multi-label",
}


@pytest.fixture(scope="module")
def medmnist() -> dict[str, dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from medmnist.info import INFO
    return {name: facts for name, facts in INFO.items() if not name.endswith("3d")}


def test_the_sets_are_those_of_medmnist(medmnist: dict[str, dict[str, Any]]) -> None:
    assert registry.names() == list(medmnist)
    assert len(medmnist) == 12


@pytest.mark.parametrize("size", registry.SIZES)
def test_facts_are_those_of_medmnist(medmnist: dict[str, dict[str, Any]], size: int) -> None:
    for name, facts in medmnist.items():
        info = registered(f"{name}@{size}")
        assert info.name == (name if size == 28 else f"{name}@{size}")
        assert info.title == facts["python_class"]
        assert info.task == TASKS[facts["task"]]
        assert info.channels == facts["n_channels"]
        assert info.n_images == facts["n_samples"]
        assert info.license == facts["license"]
        suffix = "" if size == 28 else f"_{size}"
        assert official(f"{name}@{size}").md5 == facts[f"MD5{suffix}"]
        assert official(f"{name}@{size}").url == facts[f"url{suffix}"]
        # medmnist gives a class its synonyms: "immature granulocytes(myelocytes, metamyelocytes and ...)"
        assert len(info.classes) == len(facts["label"])
        for i, label in enumerate(info.classes):
            assert facts["label"][str(i)].startswith(label), (name, i, label)


def test_a_file_is_recognised_by_its_official_name() -> None:
    assert of_file("bloodmnist.npz") == "bloodmnist"
    assert of_file("pathmnist_224.npz") == "pathmnist@224"
    for other in (
        "cells.npz",
        "pathmnist_28.npz",
        "pathmnist_32.npz",
        "bloodmnist",
        "synthetic.npz",
    ):
        assert of_file(other) is None


@pytest.mark.parametrize(
    "name", ["nodulemnist3d", "pathmnist@32", "pathmnist@", "", "synthetic@64"]
)
def test_an_unknown_name_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(UsageError, match=r"dermamnist.*NAME@64.*npz"):
        registered(name)


# Where "8 classes" or "28 x 28" would be a mistake for other data.
ALLOWED = {
    "search/data/registry.toml",
    "search/data/synthetic.py",
    "search/data/synthetic_drawing.py",
}
CONSTANTS = (
    "basophil",
    "eosinophil",
    "erythroblast",
    "11_959",
    "1_712",
    "3_421",
    "28, 28",
    "7053d0359d87",
)


def test_no_constant_of_bloodmnist_is_outside_its_own_data() -> None:
    root = Path(__file__).parents[3]
    listed = subprocess.run(
        ["git", "ls-files", "search", "models", "studies"],
        cwd=root, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    files = [name for name in listed if name.endswith((".py", ".toml", ".jinja"))]
    assert len(files) > 150
    for name in files:
        if name in ALLOWED or name.startswith(("search/course/", "studies/report_")):
            continue
        text = (root / name).read_text(encoding="utf-8")
        assert not [constant for constant in CONSTANTS if constant in text], name
