"""A study, or its database's file, that disappears while its workers run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState
from tests_support import FINGERPRINT, supervisor, tiny, tiny_study

from bloodsearch.search.database.optuna_rows import studies_table, trials_table
from bloodsearch.search.database.storage import Storage, open_storage
from bloodsearch.search.database.tables import leases_table, workers_table
from bloodsearch.search.errors import LostStudyError
from bloodsearch.search.study import create_or_resume
from bloodsearch.search.trial.outcome import Outcome
from bloodsearch.search.trial.session import Session
from bloodsearch.search.workers.shutdown import Drain
from bloodsearch.search.workers.worker import WorkerSettings, run_worker


def work(storage: Storage, train: Callable[[Session], Outcome]) -> None:
    create_or_resume(storage, "tiny", tiny_study(), FINGERPRINT)
    settings = WorkerSettings(storage.full_url, "tiny", "cpu", "cpu", 1, None, 5, "me")

    def trainer(session: Session) -> Outcome:
        return train(session)

    run_worker(settings, Drain(), lambda info, settings: trainer)


def delete(storage: Storage) -> None:
    optuna.delete_study(study_name="tiny", storage=storage.optuna)


def rename(storage: Storage) -> None:
    with storage.engine.begin() as db:
        db.execute(sa.update(studies_table).values(study_name="renamed"))


def before_sampling(session: Session, vanish: Callable[[], None]) -> Outcome:
    vanish()
    session.suggest(tiny_study(), lambda params: True)
    return Outcome(TrialState.COMPLETE, 0.5, {})


def before_a_report(session: Session, vanish: Callable[[], None]) -> Outcome:
    session.suggest(tiny_study(), lambda params: True)
    vanish()
    session.report(1, 0.5)
    return Outcome(TrialState.COMPLETE, 0.5, {})


def before_the_end(session: Session, vanish: Callable[[], None]) -> Outcome:
    vanish()
    return Outcome(TrialState.COMPLETE, 0.5, {})


def before_a_failure(session: Session, vanish: Callable[[], None]) -> Outcome:
    vanish()
    return Outcome(TrialState.FAIL, None, {"detail": "KeyError: 'Record does not exist.'"})


MOMENTS = [before_sampling, before_a_report, before_the_end, before_a_failure]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("vanish", [delete, rename])
def test_worker_says_that_its_study_is_gone(
    storage: Storage,
    vanish: Callable[[Storage], None],
    moment: Callable[[Session, Callable[[], None]], Outcome],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(LostStudyError, match="deleted while its workers ran") as ended:
        work(storage, lambda session: moment(session, lambda: vanish(storage)))
    assert ended.value.exit_code == 4
    assert caplog.messages == []
    if vanish is delete:
        with storage.engine.connect() as db:
            for table in (trials_table, workers_table, leases_table):
                assert db.execute(sa.select(table)).all() == []


def moved(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


def removed(path: Path) -> None:
    path.unlink()


def replaced(path: Path) -> None:
    shutil.copy(path, path.with_name("copy.db"))
    path.with_name("copy.db").replace(path)


@pytest.mark.parametrize("moment", MOMENTS[:3])
@pytest.mark.parametrize("vanish", [moved, removed, replaced])
def test_worker_notices_that_its_database_file_is_gone(
    sqlite_url: str,
    vanish: Callable[[Path], None],
    moment: Callable[[Session, Callable[[], None]], Outcome],
) -> None:
    storage = open_storage(sqlite_url, create=True)
    path = storage.sqlite_path
    assert path is not None
    with pytest.raises(LostStudyError, match="was moved, removed or replaced") as ended:
        work(storage, lambda session: moment(session, lambda: vanish(path)))
    assert ended.value.exit_code == 4
    assert path.exists() is (vanish is replaced)  # no new file is made in its place
    storage.close()


def test_copied_database_is_no_reason_to_stop(sqlite_url: str) -> None:
    storage = open_storage(sqlite_url, create=True)
    path = storage.sqlite_path
    assert path is not None

    def train(session: Session) -> Outcome:
        shutil.copy(path, path.with_name("copy.db"))
        return Outcome(TrialState.COMPLETE, 0.5, {})

    work(storage, train)
    assert len(tiny(storage).trials) == 5
    storage.close()


@pytest.mark.parametrize("way", ["deleted", "moved"])
def test_supervisor_ends_with_the_same_line(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv("SIM_EPOCH_S", "0.5")
    monkeypatch.setenv("SIM_LOG", str(tmp_path / "log"))
    storage = open_storage(sqlite_url, create=True)
    path = storage.sqlite_path
    assert path is not None
    study = tiny(storage)
    done: list[str] = []

    def vanish() -> None:
        if not done and (tmp_path / "log").exists():
            done.append(way)
            if way == "deleted":
                delete(storage)
            else:
                moved(path)

    with pytest.raises(LostStudyError, match=way):
        supervisor(storage, study, 5, 1, on_tick=vanish).run()
    assert path.exists() is (way == "deleted")
    storage.close()
