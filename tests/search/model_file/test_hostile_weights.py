"""Checkpoints and weights that are damaged, another training's or hostile: never run, never a lost trial."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from hostile import Bomb
from optuna.trial import TrialState
from session_support import PlainSession
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.models import build_model
from bloodsearch.search.data.load import Dataset, load_dataset
from bloodsearch.search.data.synthetic import make_split
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.errors import DataError
from bloodsearch.search.evaluation import final, ledger
from bloodsearch.search.sampling.space import Params, to_config
from bloodsearch.search.study import StudyInfo, create_or_resume
from bloodsearch.search.training import checkpoint
from bloodsearch.search.training.device import DeviceData, to_device
from bloodsearch.search.training.endings import Drained
from bloodsearch.search.trial import objective
from bloodsearch.search.trial.checkpoint_files import checkpoint_path, forget
from bloodsearch.search.trial.data import TrialData
from bloodsearch.search.trial.objective import run_trial
from bloodsearch.search.trial.outcome import Outcome

EPOCHS = 3
POINT: Params = {"arch": "mlp", "optimizer": "adam", "lr": 1e-3, "mlp_width": 8}
OTHER: Params = {"arch": "cnn", "optimizer": "adam", "lr": 1e-3, "cnn_width": 2}


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data() -> DeviceData:
    dataset = Dataset(*make_split("train", 64), *make_split("val", 64), FINGERPRINT)
    return to_device(dataset, torch.device("cpu"))


class Trials:
    """Runs trials of one study, each with its checkpoint in `folder`."""

    def __init__(self, data: DeviceData, folder: Path) -> None:
        self.data, self.folder = data, folder
        self.info = StudyInfo("tiny", "search", tiny_study(), FINGERPRINT, None)
        self.warnings: list[str] = []

    def new(self, point: dict[str, Any]) -> optuna.Trial:
        study = optuna.create_study(direction="maximize")
        study.enqueue_trial(point, user_attrs={"point": point, "baseline": "never pruned"})
        return study.ask()

    def path(self, trial: optuna.Trial) -> Path:
        return checkpoint_path(self.folder, self.info.name, trial.number)

    def run(self, trial: optuna.Trial, *, until: int = EPOCHS) -> Outcome:
        """Train `trial`; raises Drained after epoch `until`."""
        n_reported = 0

        def report(epoch: int, value: float) -> None:
            nonlocal n_reported
            trial.report(value, epoch)
            n_reported = epoch

        session = PlainSession(
            trial, self.info, self.folder, report, lambda: n_reported >= until, self.warnings
        )
        outcome = run_trial(session, self.info, TrialData(self.info, self.data))
        assert outcome.checkpoint == self.path(trial)
        forget(outcome.checkpoint)  # as a worker does once the outcome is stored
        return outcome

    def drained(self, point: dict[str, Any]) -> optuna.Trial:
        """A trial with one epoch done and a checkpoint."""
        trial = self.new(point)
        with pytest.raises(Drained):
            self.run(trial, until=1)
        assert self.path(trial).is_file()
        return trial


@pytest.fixture
def trials(data: DeviceData, tmp_path: Path) -> Trials:
    return Trials(data, tmp_path / "checkpoints")


def curve(trial: optuna.Trial) -> list[float]:
    values = trial.storage.get_trial(trial._trial_id).intermediate_values
    return [values[epoch] for epoch in sorted(values)]


def change(**parts: object) -> Callable[[Path], object]:
    """A checkpoint of this very training in which some parts are others."""

    def damage(path: Path) -> None:
        payload = checkpoint.load(path)
        assert set(parts) <= set(payload)
        checkpoint.save(path, {**payload, **parts})

    return damage


def lose(part: str) -> Callable[[Path], object]:
    def damage(path: Path) -> None:
        payload = checkpoint.load(path)
        del payload[part]
        checkpoint.save(path, payload)

    return damage


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps({"identity": Bomb()}))


def pickled_by_torch(path: Path) -> None:
    torch.save({**checkpoint.load(path), "history": Bomb()}, path)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("hello" * 99),
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[:999]),
    "pickled object": pickled,
    "pickled object in a checkpoint": pickled_by_torch,
    "a list": lambda path: torch.save([1, 2], path),
    "nothing in it": lambda path: checkpoint.save(path, {}),
    "identity is a tensor": change(identity=torch.zeros(2)),
    "no weights": change(model={}),
    "weights of other shapes": change(model={"x": torch.zeros(2)}),
    "no optimizer": lose("optimizer"),
    "another optimizer": change(optimizer={"state": {}, "param_groups": []}),
    "no generator": change(generator=torch.zeros(3)),
    "history of another kind": change(history=[{"step": 1}]),
    "history is a number": change(history=7),
    "a folder": a_folder,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_an_unusable_checkpoint_costs_the_resume_only(
    trials: Trials,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    damage: Callable[[Path], object],
) -> None:
    undisturbed = trials.new(POINT)
    assert trials.run(undisturbed).state is TrialState.COMPLETE
    trial = trials.drained(POINT)
    monkeypatch.chdir(tmp_path)
    damage(trials.path(trial))
    outcome = trials.run(trial)
    assert outcome.state is TrialState.COMPLETE, outcome.attrs
    assert outcome.attrs["epochs"] == EPOCHS
    assert curve(trial) == curve(undisturbed)
    started, *others = trials.warnings
    assert "starts from scratch" in started
    assert str(trials.path(trial)) in started
    assert "\n" not in started
    assert all("no checkpoint" in other for other in others)  # a folder is still in its place
    assert not (tmp_path / "executed").exists()


def test_a_good_checkpoint_is_resumed_without_a_word(trials: Trials) -> None:
    undisturbed = trials.new(POINT)
    trials.run(undisturbed)
    trial = trials.drained(POINT)
    assert trials.run(trial).state is TrialState.COMPLETE
    assert curve(trial) == curve(undisturbed)
    assert trials.warnings == []
    assert not trials.path(trial).exists()


def test_another_models_checkpoint_is_not_resumed(trials: Trials) -> None:
    undisturbed = trials.new(POINT)
    trials.run(undisturbed)
    other = trials.drained(OTHER)
    trial = trials.new(POINT)
    assert trials.path(trial) == trials.path(other)
    assert trials.run(trial).state is TrialState.COMPLETE
    assert curve(trial) == curve(undisturbed)
    (warning,) = trials.warnings
    assert "another configuration" in warning


def test_a_bug_is_not_taken_for_a_bad_checkpoint(
    trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = trials.drained(POINT)

    def bug(confusion: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(objective, "scores", bug)  # after the last epoch
    outcome = trials.run(trial)
    assert outcome.state is TrialState.FAIL
    assert outcome.attrs["detail"] == "ValueError: a bug"
    assert trials.warnings == []


def test_a_file_where_the_checkpoints_folder_should_be(data: DeviceData, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    trials = Trials(data, tmp_path / "file")
    assert trials.run(trials.new(POINT)).state is TrialState.COMPLETE
    assert len(trials.warnings) == EPOCHS  # no checkpoint to read, none after either of two epochs
    assert (tmp_path / "file").read_text() == "mine"


def test_a_loss_that_is_no_number_prunes_the_trial(
    trials: Trials, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(config: object) -> torch.nn.Module:
        model = build_model(config)  # type: ignore[arg-type]
        with torch.no_grad():
            next(model.parameters()).fill_(float("nan"))
        return model

    monkeypatch.setattr("bloodsearch.search.training.loop.build_model", spoiled)
    trial = trials.new(POINT)
    outcome = trials.run(trial)
    assert outcome.state is TrialState.PRUNED
    assert outcome.attrs["detail"].startswith("loss nan")
    assert (curve(trial), outcome.value) == ([], 0.0)
    assert not trials.path(trial).exists()


def foreign(path: Path) -> None:
    other = build_model(to_config(OTHER, epochs=1, patience=0).model)
    checkpoint.save(path, {"state_dict": other.state_dict(), "config": "{}"})


@pytest.mark.parametrize(
    "damage",
    [pickled, foreign, lambda path: checkpoint.save(path, {"state_dict": 7}), Path.touch],
    ids=["pickled", "another model", "no weights", "empty"],
)
def test_the_test_split_is_not_opened_for_unusable_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object]
) -> None:
    monkeypatch.chdir(tmp_path)
    storage = open_storage(f"sqlite:///{tmp_path}/x.db", create=True)
    study = create_or_resume(storage, "tiny", tiny_study(), load_dataset("synthetic").fingerprint)
    winner = study.ask()
    winner.set_user_attr("params", POINT)
    study.tell(winner, 0.5)
    prepared = final.prepare(storage, study, trial=None, n_replicates=1)
    replicate = prepared.study.ask()
    weights = tmp_path / "w.pt"
    config = to_config(POINT, epochs=EPOCHS, patience=0)
    attrs = {"weights": str(weights), "config": config.model_dump(mode="json")}
    for key, value in attrs.items():
        replicate.set_user_attr(key, value)
    prepared.study.tell(replicate, 0.5)
    damage(weights)
    with pytest.raises(DataError) as caught:
        final.evaluate(storage, study, prepared, data_root=None, out=tmp_path / "out", forced=False)
    assert str(weights) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert ledger.openings(storage) == []
    assert not (tmp_path / "executed").exists()
    storage.close()
