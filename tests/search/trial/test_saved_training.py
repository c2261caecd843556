"""What a trial's checkpoint carries on, and what a full disk costs."""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import optuna
import pytest
from session_support import PlainSession
from tests_support import FINGERPRINT, tiny_study

from bloodsearch.search.database.outage import retry_outage
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.errors import StorageError
from bloodsearch.search.records import Kind
from bloodsearch.search.study import StudyInfo, create_or_resume, info
from bloodsearch.search.training import checkpoint
from bloodsearch.search.training.device import DeviceData
from bloodsearch.search.training.endings import Drained
from bloodsearch.search.trial.checkpoint_files import checkpoint_folder
from bloodsearch.search.trial.data import TrialData
from bloodsearch.search.trial.objective import run_trial
from bloodsearch.search.trial.saved_training import SavedTraining

P = ParamSpec("P")
T = TypeVar("T")
POINT = {"arch": "mlp", "optimizer": "adam", "lr": 1e-3, "mlp_width": 8}


pytestmark = pytest.mark.usefixtures("one_thread")


class Waiting(PlainSession):
    """A session that waits for the storage, and for space, as a worker's does."""

    def persist(self, operation: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return retry_outage(lambda: operation(*args, **kwargs), limit_s=1)


def session(folder: Path, kind: Kind = "search") -> Waiting:
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial(POINT, user_attrs={"point": POINT})
    info = StudyInfo("tiny", kind, tiny_study(), FINGERPRINT, None)
    return Waiting(study.ask(), info, folder)


def test_seconds_are_summed_over_the_parts_of_a_training(
    small: DeviceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first part takes 100 seconds, by a clock that the test moves."""
    moved = 0.0
    monotonic = time.monotonic
    monkeypatch.setattr(
        "bloodsearch.search.trial.saved_training.time.monotonic", lambda: monotonic() + moved
    )
    worker = session(tmp_path)
    epochs: list[int] = []

    def report(epoch: int, value: float) -> None:
        nonlocal moved
        moved += 50.0
        epochs.append(epoch)

    worker.on_report, worker.stop = report, lambda: len(epochs) == 2
    with pytest.raises(Drained):
        run_trial(worker, worker.study_info, TrialData(worker.study_info, small))
    worker.stop = lambda: False
    outcome = run_trial(worker, worker.study_info, TrialData(worker.study_info, small))
    # epoch 2 is reported again: this session's trial did not store it
    assert epochs == [1, 2, 2, 3]
    assert 200 <= outcome.attrs["seconds"] < 260


class Usage(NamedTuple):
    free: int


def test_a_full_disk_is_waited_for_before_a_long_training(
    small: DeviceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([0, 0, 10**9])
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(next(looks)))
    worker = session(tmp_path, "replicates")
    outcome = run_trial(worker, worker.study_info, TrialData(worker.study_info, small))
    assert Path(outcome.attrs["weights"]).is_file()
    assert list(looks) == []


def test_weights_are_stored_by_a_path_relative_to_the_database(
    small: DeviceData, sqlite_storage: Storage
) -> None:
    """So that a project folder may be moved."""
    study = create_or_resume(sqlite_storage, "tiny", tiny_study(), FINGERPRINT, kind="replicates")
    study.enqueue_trial(POINT, user_attrs={"point": POINT})
    worker = Waiting(study.ask(), info(study), checkpoint_folder(sqlite_storage))
    path = run_trial(worker, worker.study_info, TrialData(worker.study_info, small)).attrs[
        "weights"
    ]
    database = sqlite_storage.sqlite_path
    assert database is not None
    assert path == f"{database.name}.checkpoints/tiny/trial-0.weights.pt"
    assert (database.parent / path).is_file()


def test_a_disk_that_stays_full_ends_the_worker_before_the_training(
    small: DeviceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(0))
    worker = session(tmp_path, "replicates")
    with pytest.raises(StorageError, match=r"disk full: .* needs 1.* MiB more"):
        run_trial(worker, worker.study_info, TrialData(worker.study_info, small))
    assert worker.trial.storage.get_trial(worker.trial._trial_id).intermediate_values == {}


def test_weights_are_kept_in_memory_until_there_is_space(
    small: DeviceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole training was once thrown away with "unexpected pos 1344 vs 1238"."""
    save, full = checkpoint.save, [True, True]

    def fills_up(path: Path, payload: dict[str, Any]) -> None:
        if path.name.endswith(".weights.pt") and full:
            full.pop()
            raise OSError(errno.ENOSPC, f"disk full: cannot write {path}")
        save(path, payload)

    monkeypatch.setattr(checkpoint, "save", fills_up)
    worker = session(tmp_path, "replicates")
    outcome = run_trial(worker, worker.study_info, TrialData(worker.study_info, small))
    assert full == []
    assert Path(outcome.attrs["weights"]).is_file()


def test_a_full_disk_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"disk full: cannot write .*trial-0\.pt"):
        checkpoint.save(tmp_path / "trial-0.pt", {"a": 1})
    assert list(tmp_path.iterdir()) == []


def test_the_space_that_is_waited_for_holds_all_files_at_their_largest(
    small: DeviceData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint, its successor while it is written, and the weights."""
    point = POINT | {"mlp_width": 256, "ema": 0.5}
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial({}, user_attrs={"point": point})
    study_info = StudyInfo("tiny", "replicates", tiny_study(), FINGERPRINT, None)
    worker = Waiting(study.ask(), study_info, tmp_path)
    wanted: list[int] = []
    sizes: dict[str, int] = {}
    save = checkpoint.save

    def measure(path: Path, payload: dict[str, Any]) -> None:
        save(path, payload)
        sizes[path.name] = path.stat().st_size

    monkeypatch.setattr(SavedTraining, "_require_space", lambda self, n: wanted.append(n))
    monkeypatch.setattr(checkpoint, "save", measure)
    run_trial(worker, study_info, TrialData(study_info, small))
    most = 2 * sizes["trial-0.pt"] + sizes["trial-0.weights.pt"]
    assert most < wanted[0] < 1.2 * most
