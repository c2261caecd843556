"""Study files and databases from before the tables by family: read as then, hashed as then."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from bloodsearch.search.evaluation.baselines import baselines_part
from bloodsearch.search.evaluation.refits import refit_file
from bloodsearch.search.sampling.grid import grid_part
from bloodsearch.studies import (
    StudyFileError,
    epochs_overrides,
    load_study_file,
    only_arch,
    parse_study,
    read_as_before,
)

OLD = Path(__file__).parent / "old"
# written down with the code before the change
SHIPPED = {
    "bloodmnist": "61fddfe3b05c4c59",
    "demo": "65752b2ae5296a76",
    "report_a": "b8e5ae66988b5d80",
    "report_b": "10e190266aff40f2",
}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_has_the_hash_of_before(name: str) -> None:
    assert load_study_file(name).space_hash() == SHIPPED[name]


def test_the_old_spelling_of_a_file_is_the_same_study() -> None:
    old = load_study_file(str(OLD / "bloodmnist.toml"))
    assert old.space_hash() == SHIPPED["bloodmnist"]
    assert old.training.epochs == {"cnn": 5, "mlp": 10}
    assert old.settings() == load_study_file("bloodmnist").settings()


def test_a_stored_study_file_has_the_hash_of_before() -> None:
    stored = parse_study(json.loads((OLD / "stored.json").read_text()), "stored")
    assert stored.space_hash() == "d432b322a2e043e3"
    assert stored.training.epochs == {"cnn": 6, "mlp": 6}
    assert stored.training.final_epochs == {"cnn": 1, "mlp": 2}
    assert stored.pruner.warmup_epochs == 1
    # and the command that made it resumes it
    settings = ["space.mlp_width=64", "space.cnn_width=4"]
    settings += ["training.final_epochs=1", "training.mlp_final_epochs=2"]
    file = load_study_file("bloodmnist", settings)
    file = load_study_file("bloodmnist", settings + epochs_overrides(file, 6))
    assert file.space_hash() == stored.space_hash()


def test_a_study_file_keeps_its_hash_when_it_is_stored_and_read() -> None:
    for name in SHIPPED:
        file = load_study_file(name)
        assert parse_study(json.loads(file.model_dump_json()), name) == file


@pytest.mark.parametrize(
    ("name", "overrides", "digest"),
    [
        ("bloodmnist", ["training.epochs=6", "training.mlp_epochs=6"], "a975e4e431b8e14e"),
        ("demo", ["training.epochs=6", "training.mlp_epochs=6"], "dff736a90d20d3f7"),
        ("bloodmnist", ["training.epochs=6"], "56920959c8cd81ad"),
        ("bloodmnist", ["training.epochs=6", "training.epochs=8"], "8f4a36570691c66e"),
        ("bloodmnist", ["training.final_epochs=1"], "81851c183a02b11f"),
        ("bloodmnist", ["training.epochs=6", 'space.arch="mlp"'], "993e87c847289455"),
        ("bloodmnist", ["training.mlp_epochs=7"], "5f7bd60b9e758320"),
        ("demo", ["training.mlp_epochs=7"], "8f6f0d5d4e6bde8a"),
        (
            "bloodmnist",
            ["training.mlp_final_epochs=2", "training.final_epochs=1"],
            "68cc5055a6b5ccbf",
        ),
        ("bloodmnist", ["pruner.mlp_warmup_epochs=3"], "6e003eb4962cb320"),
        ("demo", ["pruner.mlp_warmup_epochs=3"], "3d0aa508be669a3f"),
    ],
)
def test_an_old_command_still_makes_the_same_study(
    name: str, overrides: list[str], digest: str
) -> None:
    """In today's reading or in that of then, where one number left the epochs of MLPs as they were."""
    hashes = {load_study_file(name, overrides).space_hash()}
    with contextlib.suppress(StudyFileError):  # demo has no table
        hashes.add(load_study_file(name, read_as_before(overrides)).space_hash())
    assert digest in hashes


def test_parts_of_a_study_have_the_hashes_of_before() -> None:
    default, report_a = load_study_file("bloodmnist"), load_study_file("report_a")
    assert only_arch(default, "cnn").space_hash() == "76606657c677fef0"
    assert only_arch(default, "mlp").space_hash() == "178f0f6e948b87bf"
    assert baselines_part(default).space_hash() == "e941d38d255e32d0"
    assert baselines_part(report_a).space_hash() == "51cea2d43f49909e"
    assert grid_part(report_a).space_hash() == "c2fabc328b40551a"
    patient = ["training.mlp_epochs=7", "training.epochs=3", "training.final_patience=3"]
    file = load_study_file("bloodmnist", patient)
    assert file.ladder is not None
    # a stored study of before has a ladder without parameters of its own
    stored = file.model_copy(update={"ladder": file.ladder.model_copy(update={"params": {}})})
    assert refit_file(stored, [7, 8]).space_hash() == "7696e98fed45c99c"
    assert baselines_part(file).space_hash() == "7a13c820475a5116"


def test_a_table_by_family() -> None:
    overrides = [
        "training.epochs={cnn = 3, mlp = 7}",
        "training.final_epochs.mlp=9",
        "pruner.warmup_epochs={mlp = 2, cnn = 1}",
    ]
    file = load_study_file("bloodmnist", overrides)
    assert [file.training.epochs_of(family) for family in ("cnn", "mlp")] == [3, 7]
    assert [file.training.final_epochs_of(family) for family in ("cnn", "mlp")] == [60, 9]
    assert [file.pruner.warmup_of(family) for family in ("cnn", "mlp")] == [1, 2]
    # a trial of another program may be of no family of ours
    assert file.training.epochs_of("None") == 7
    assert load_study_file("demo").training.epochs_of("mlp") == 4


@pytest.mark.parametrize("overrides", [["training.epochs=6"], {"training.epochs": 6}])
def test_one_number_sets_every_family(overrides: list[str] | dict[str, int]) -> None:
    assert load_study_file("bloodmnist", overrides).training.epochs == {"cnn": 6, "mlp": 6}
    as_before = read_as_before(overrides)
    assert load_study_file("bloodmnist", as_before).training.epochs == {"cnn": 6, "mlp": 10}


def test_other_overrides_mean_what_they_meant() -> None:
    assert read_as_before(None) is None
    assert read_as_before(["space.epochs=3", "search.seed=1", "training.epochs.mlp=6"]) is None
    assert read_as_before({"training.final_epochs": {"cnn": 1, "mlp": 2}}) is None
    assert read_as_before("training.final_epochs = 20") == ["training.final_epochs.cnn= 20"]


def test_one_number_replaces_a_table_of_mlps_alone() -> None:
    mlps = ['space.arch="mlp"', "baselines=[]", "training.epochs={mlp = 7}"]
    assert load_study_file("bloodmnist", [*mlps, "training.epochs=6"]).training.epochs == 6


def test_one_number_replaces_a_range_of_epochs() -> None:
    space = ['pruner.name="family"', "space.epochs={low = 2, high = 4}", "space.epochs=3"]
    assert load_study_file("bloodmnist", space).space["epochs"] == 3


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.epochs={cnn = 5}", "training.epochs.mlp: missing"),
        ("training.epochs={}", "training.epochs"),
        ("training.epochs={cnn = 5, mlp = 0}", "training.epochs.mlp: input should be greater"),
        ("training.epochs={cnn = 5, mlp = 5, vit = 5}", "training.epochs.vit: no such family"),
        ("training.mlp_epochs=many", "training.epochs.mlp: input should be a valid integer"),
        ("training.epochs=[5, 10]", "training.epochs: input should be a valid integer"),
        ("pruner.warmup_epochs={mlp = 1}", "pruner.warmup_epochs.cnn: missing"),
        ("pruner.warmup_epochs={mlp = 1, cnn = 1.5}", "pruner.warmup_epochs.cnn"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(override: str, words: str) -> None:
    with pytest.raises(StudyFileError, match=r"^study bloodmnist: ") as caught:
        load_study_file("bloodmnist", [override])
    assert words in str(caught.value)


def test_a_table_needs_only_the_families_that_the_study_trains() -> None:
    overrides = ['space.arch="mlp"', "baselines=[]", "training.epochs={mlp = 7}"]
    file = load_study_file("bloodmnist", overrides)
    assert file.training.epochs_of("mlp") == 7
    assert parse_study(json.loads(file.model_dump_json()), "x").space_hash() == file.space_hash()
