"""What a watcher sees of a study, and what it costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState, create_trial
from tests_support import FINGERPRINT, tiny, tiny_study

from bloodsearch.search.database.storage import Storage
from bloodsearch.search.study import create_or_resume
from bloodsearch.search.watch.watcher import Watcher
from bloodsearch.search.workers.leases import Claim, Leases
from bloodsearch.search.workers.liveness import own_identity


def claim(leases: Leases, device: str, **attrs: object) -> tuple[Claim, object]:
    worker = own_identity(device)
    found = leases.claim(worker, 999, may_create=True)
    assert isinstance(found, Claim)
    for key, value in attrs.items():
        leases.storage.optuna.set_trial_user_attr(found.trial_id, key, value)
    return found, worker


@contextmanager
def statements(engine: sa.Engine) -> Iterator[list[str]]:
    """Collect the statements that reach the database."""
    seen: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        seen.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    yield seen
    sa.event.remove(engine, "before_cursor_execute", note)


def test_workers_with_their_trials_and_curves(leases: Leases) -> None:
    watcher = Watcher(leases.storage, leases.study)
    leases.study.set_user_attr("n_trials", 9)
    trial, worker = claim(leases, "cpu", family="cnn")
    own = own_identity("cuda:1")
    leases.registry.register(own)
    for epoch, value in ((1, 0.25), (2, 0.5)):
        leases.report(worker, trial.trial_id, epoch, value)  # type: ignore[arg-type]
    seen = watcher.look()
    assert (seen.study, seen.n_trials, seen.running, seen.left) == ("tiny", 9, 1, 9)
    rows = {row.device: row for row in seen.workers}
    assert rows["cpu"].trial == trial.number
    assert rows["cpu"].curve == (0.25, 0.5)
    assert (rows["cpu"].family, rows["cpu"].epoch, rows["cpu"].epochs) == ("cnn", 2, 3)
    assert rows["cuda:1"].trial is None
    assert seen.seconds_left is None, "no trial has finished"


def test_a_baseline_and_a_replicate_keep_their_own_lengths(sqlite_storage: Storage) -> None:
    file = tiny_study(training={"epochs": 3, "final_epochs": 7})
    search = create_or_resume(sqlite_storage, "tiny", file, FINGERPRINT)
    point = {"arch": "mlp", "epochs": 40}
    claim(Leases(sqlite_storage, search), "cpu", point=point, baseline="A-mlp")
    (row,) = Watcher(sqlite_storage, search).look().workers
    assert (row.name, row.family, row.epochs) == ("A-mlp", "mlp", 40)
    final = create_or_resume(sqlite_storage, "tiny-final-4", file, FINGERPRINT, kind="replicates")
    claim(Leases(sqlite_storage, final), "cpu", point=point, replicate_of=4)
    (row,) = Watcher(sqlite_storage, final).look().workers
    assert (row.of_trial, row.epochs) == (4, 7)


def test_a_new_best_trial_is_told_once(storage: Storage) -> None:
    study = tiny(storage)
    study.add_trial(create_trial(state=TrialState.COMPLETE, value=0.5))
    watcher = Watcher(storage, study)
    assert not watcher.look().happenings, "what was there before is no news"
    attrs = {"family": "cnn", "confusion": [[9, 1], [2, 8]], "seconds": 6.0}
    study.add_trial(create_trial(state=TrialState.COMPLETE, value=0.75, user_attrs=attrs))
    study.add_trial(create_trial(state=TrialState.PRUNED, value=0.9))
    watcher.look()
    seen = watcher.look()
    assert [h.text for h in seen.happenings] == ["new best 0.7500: trial 1 cnn"]
    assert seen.best is not None
    assert seen.best.trial == 1
    assert seen.best.interval is not None
    low, high = seen.best.interval
    assert low < (2 * 9 / 21 + 2 * 8 / 19) / 2 < high


def test_replicates_have_a_mean_and_no_best(sqlite_storage: Storage) -> None:
    study = create_or_resume(
        sqlite_storage, "tiny-final-4", tiny_study(), FINGERPRINT, kind="replicates"
    )
    for value in (0.5, 0.75):
        study.add_trial(create_trial(state=TrialState.COMPLETE, value=value))
    seen = Watcher(sqlite_storage, study).look()
    assert seen.best is None
    assert seen.mean == 0.625


def test_a_trial_of_a_lost_worker_that_resumes(leases: Leases) -> None:
    watcher = Watcher(leases.storage, leases.study)
    trial, lost = claim(leases, "cpu", family="mlp")
    watcher.look()
    leases.registry.unregister(lost)  # type: ignore[arg-type]
    leases.reclaim()
    watcher.look()
    again, _ = claim(leases, "cuda:0")
    assert again == trial
    (told,) = watcher.look().happenings
    assert told.text.startswith(f"trial {trial.number} resumes on ")
    assert "cuda:0" in told.text


def test_an_outage_keeps_the_last_picture(leases: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = Watcher(leases.storage, leases.study)
    leases.study.add_trial(create_trial(state=TrialState.COMPLETE, value=0.5))
    before = watcher.look()

    def down() -> None:
        raise sa.exc.OperationalError("SELECT 1", None, Exception("server closed the connection"))

    with monkeypatch.context() as broken:
        broken.setattr(watcher.leases, "counts", down)
        seen = watcher.look()
        watcher.look()
    assert seen.silent_s is not None
    assert seen.complete == before.complete == 1
    after = watcher.look()
    assert after.silent_s is None
    texts = [h.text for h in after.happenings]
    assert len(texts) == 2
    assert texts[0] == "waiting for the database: server closed the connection"
    assert texts[1].startswith("the database answers again")


def test_a_look_reads_no_finished_trials_again(sqlite_storage: Storage) -> None:
    study = tiny(sqlite_storage)
    for i in range(300):
        study.add_trial(create_trial(state=TrialState.COMPLETE, value=i / 1000))
    claim(Leases(sqlite_storage, study), "cpu", family="mlp")
    watcher = Watcher(sqlite_storage, study)
    watcher.look()
    with statements(sqlite_storage.engine) as seen:
        started = time.process_time()
        for _ in range(10):
            watcher.look()
    assert len(seen) <= 60, seen[:8]
    assert time.process_time() - started < 1.0


def test_optuna_alone_is_not_watched(sqlite_storage: Storage) -> None:
    """A study without our attributes has no study file to read."""
    study = optuna.create_study(storage=sqlite_storage.optuna)
    with pytest.raises(Exception, match=r"missing|required|validation"):
        Watcher(sqlite_storage, study)
