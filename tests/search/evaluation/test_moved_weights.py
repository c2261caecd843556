"""Weights are found after a project folder, or only its database, was moved."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial
from tests_support import FINGERPRINT, tiny_study
from weights_support import trained

from bloodsearch.search.database.storage import Storage, open_storage
from bloodsearch.search.errors import DataError, RefusedError
from bloodsearch.search.evaluation.evaluated import evaluated_replicates
from bloodsearch.search.evaluation.scoring import load_model
from bloodsearch.search.evaluation.selection import queue_replicates, replicates
from bloodsearch.search.study import create_or_resume, load
from bloodsearch.search.training import checkpoint
from bloodsearch.search.trial.weights_files import stored_path

MLP = {"arch": "mlp", "widths": [8], "norm": True, "dropout": 0.2}
PART = "tiny-final-0"
RESULT = {"study": "tiny", "trial": 0, "seeds": [1, 2], "out": "final/tiny", "data_hash": "x"}


def make(project: Path, stored: str) -> None:
    """A project with a database, two replicates and the folder of a final evaluation.

    `stored` is the path of the weights in the database: "relative", or an absolute folder.
    """
    storage = open_storage(f"sqlite:///{project / 'x.db'}", create=True)
    study = create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    part = create_or_resume(storage, PART, tiny_study(), FINGERPRINT, kind="replicates")
    folder = project / "x.db.checkpoints" / PART
    final = project / "final" / "tiny"
    final.mkdir(parents=True)
    for i, seed in enumerate((1, 2)):
        trial = trained(folder, MLP, seed)
        path = folder / f"trial-{i}.weights.pt"
        Path(trial.user_attrs["weights"]).rename(path)
        shutil.copy(path, final / f"replicate-{i}.pt")
        if stored == "relative":
            trial.user_attrs["weights"] = stored_path(part, path)
            assert not Path(trial.user_attrs["weights"]).is_absolute()
        else:
            trial.user_attrs["weights"] = f"{stored}/x.db.checkpoints/{PART}/{path.name}"
        part.add_trial(trial)
    (final / "result.json").write_text(json.dumps(RESULT))
    assert study.study_name == "tiny"
    storage.close()


def opened(project: Path, name: str = "x.db") -> Storage:
    return open_storage(f"sqlite:///{project / name}", create=False)


@pytest.fixture(params=["relative", "/gone/project"])
def moved(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A project folder that was moved, with new or old paths in its database."""
    (tmp_path / "before").mkdir()
    make(tmp_path / "before", request.param)
    return (tmp_path / "before").rename(tmp_path / "after")


def weights(trials: list[FrozenTrial]) -> list[str]:
    return [trial.user_attrs["weights"] for trial in trials]


def test_a_moved_project_has_its_weights(moved: Path) -> None:
    storage = opened(moved)
    expected = [str(moved / f"x.db.checkpoints/{PART}/trial-{i}.weights.pt") for i in (0, 1)]
    assert weights(replicates(load(storage, PART), 0, [1, 2])) == expected
    assert weights(evaluated_replicates(storage, "tiny", RESULT)) == expected


def test_nothing_is_trained_again(moved: Path) -> None:
    storage = opened(moved)
    part = load(storage, PART)
    winner = part.get_trials()[0]
    winner.user_attrs["params"] = {}
    queue_replicates(storage, part, winner, [1, 2])
    assert len(part.get_trials()) == 2


def test_a_renamed_database_has_them(moved: Path) -> None:
    (moved / "x.db").rename(moved / "y.db")
    storage = opened(moved, "y.db")
    assert len(evaluated_replicates(storage, "tiny", RESULT)) == 2
    (moved / "x.db.checkpoints").rename(moved / "y.db.checkpoints")
    assert len(replicates(load(storage, PART), 0, [1, 2])) == 2


def test_the_folder_of_the_final_evaluation_has_them(moved: Path) -> None:
    shutil.rmtree(moved / "x.db.checkpoints")
    storage = opened(moved)
    found = weights(evaluated_replicates(storage, "tiny", RESULT))
    assert found == [str(moved / f"final/tiny/replicate-{i}.pt") for i in (0, 1)]


def test_another_evaluations_folder_is_not_taken(moved: Path) -> None:
    shutil.rmtree(moved / "x.db.checkpoints")
    (moved / "final/tiny/result.json").write_text(json.dumps(RESULT | {"seeds": [1, 3]}))
    with pytest.raises(RefusedError) as refused:
        evaluated_replicates(opened(moved), "tiny", RESULT)
    said = str(refused.value)
    assert "2 of the 2 weight files of tiny-final-0 are not on this machine" in said
    assert str(moved / "x.db.checkpoints") in said
    assert str(moved / "final/tiny") in said
    assert "--force" not in said


def test_weights_that_were_trained_again_have_no_test_score(moved: Path) -> None:
    """On another processor the same seed gives another model; its file was exported with the old score."""
    values = [0.5, 0.625]
    result = RESULT | {"val_macro_f1": {"values": values}}
    storage = opened(moved)
    part = load(storage, PART)
    folder = moved / "x.db.checkpoints" / PART
    (folder / "trial-1.weights.pt").unlink()
    (moved / "final/tiny/replicate-1.pt").unlink()
    lost = part.get_trials()[1]
    assert lost.value is not None
    values[:] = [trial.value or 0.0 for trial in part.get_trials()]
    path = folder / "trial-2.weights.pt"
    shutil.copy(folder / "trial-0.weights.pt", path)
    again = copy.deepcopy(lost)
    again.user_attrs["weights"] = stored_path(part, path)
    again.value = lost.value - 0.001
    part.add_trial(again)
    with pytest.raises(RefusedError, match="1 of the 2 weight files"):
        evaluated_replicates(storage, "tiny", result)
    same = copy.deepcopy(again)
    same.value = lost.value
    part.add_trial(same)
    assert weights(evaluated_replicates(storage, "tiny", result))[1] == str(path)


@pytest.mark.parametrize("wrong", [{"evaluation": "another"}, {"seed": 7}])
def test_weights_of_another_evaluation_are_not_taken(moved: Path, wrong: dict[str, Any]) -> None:
    result = RESULT | {"evaluation": "this"}
    final = moved / "final/tiny"
    (final / "result.json").write_text(json.dumps(result))
    shutil.rmtree(moved / "x.db.checkpoints")
    for i, seed in enumerate((1, 2)):
        path = final / f"replicate-{i}.pt"
        right = {"evaluation": "this", "seed": seed}
        checkpoint.save(path, checkpoint.load(path) | right)
    storage = opened(moved)
    assert len(evaluated_replicates(storage, "tiny", result)) == 2
    checkpoint.save(final / "replicate-1.pt", checkpoint.load(path) | wrong)
    with pytest.raises(RefusedError, match="1 of the 2 weight files"):
        evaluated_replicates(storage, "tiny", result)


@pytest.mark.parametrize("wrong", ["config", "seed"])
def test_weights_of_another_trial_are_not_loaded(tmp_path: Path, wrong: str) -> None:
    trial = trained(tmp_path, MLP, seed=1)
    path = Path(trial.user_attrs["weights"])
    config = trial.user_attrs["config"]
    own = {"config": json.dumps(config), "seed": 1}
    checkpoint.save(path, checkpoint.load(path) | own)
    load_model(trial)
    other = {"config": json.dumps(config | {"epochs": 2}), "seed": 2}
    checkpoint.save(path, checkpoint.load(path) | {wrong: other[wrong]})
    with pytest.raises(DataError, match="does not hold the weights of replicate"):
        load_model(trial)


def test_a_file_outside_the_databases_folder_keeps_its_path(
    tmp_path: Path, storage: Storage
) -> None:
    part = create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    elsewhere = tmp_path / "disk" / "trial-0.weights.pt"
    assert stored_path(part, elsewhere) == str(elsewhere)
