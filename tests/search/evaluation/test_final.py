"""The final evaluation: the test split is opened once, for all that was asked for, and never for nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState, create_trial
from sklearn.metrics import f1_score
from tests_support import tiny_study
from weights_support import trained

from bloodsearch.search.cli.final_tables import show_result
from bloodsearch.search.data import load as data_module
from bloodsearch.search.data.load import Dataset, load_dataset
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.errors import DataError, RefusedError, StorageError, UsageError
from bloodsearch.search.evaluation import final, ledger
from bloodsearch.search.evaluation.averaging import Averaging
from bloodsearch.search.evaluation.final import Prepared, evaluate, prepare, stored_again
from bloodsearch.search.evaluation.finalists import Finalist, Raced
from bloodsearch.search.evaluation.refits import refit_study
from bloodsearch.search.evaluation.scoring import predictor
from bloodsearch.search.evaluation.selection import replicates
from bloodsearch.search.study import create_or_resume, info
from bloodsearch.search.training import checkpoint
from bloodsearch.search.workers.leases import Claim, Leases
from bloodsearch.search.workers.liveness import own_identity

MLP: dict[str, Any] = {"arch": "mlp", "widths": [4]}
POINT = {"arch": "mlp", "optimizer": "adam", "lr": 1e-3, "mlp_width": 8}

End = Callable[[TrialState], None]


@pytest.fixture(scope="module")
def data() -> Dataset:
    return load_dataset("synthetic")


@pytest.fixture
def storage_url(sqlite_url: str) -> str:
    return sqlite_url


@pytest.fixture
def study(storage: Storage, data: Dataset) -> optuna.Study:
    made = create_or_resume(storage, "tiny", tiny_study(), data.fingerprint)
    attrs = {"params": POINT, "n_parameters": 10}
    made.add_trial(create_trial(state=TrialState.COMPLETE, value=0.5, user_attrs=attrs))
    return made


@pytest.fixture
def prepared(storage: Storage, study: optuna.Study) -> Prepared:
    return prepare(storage, study, trial=None, n_replicates=3)


@pytest.fixture
def end(storage: Storage, prepared: Prepared, tmp_path: Path) -> End:
    """Ends the next replicate in the given state; a complete one has weights."""
    leases, me = Leases(storage, prepared.study), own_identity("cpu")
    set_attr = prepared.study._storage.set_trial_user_attr

    def one(state: TrialState) -> None:
        claim = leases.claim(me, 3, may_create=False)
        assert isinstance(claim, Claim)
        if state is TrialState.COMPLETE:
            for key, value in trained(tmp_path, MLP, claim.number).user_attrs.items():
                if key != "seed":
                    set_attr(claim.trial_id, key, value)
        else:
            set_attr(claim.trial_id, "stop_reason", f"made to be {state.name}")
        leases.finish(me, claim.trial_id, state, 0.5 if state is TrialState.COMPLETE else None)

    return one


Evaluate = Callable[..., dict[str, Any]]


@pytest.fixture
def run(storage: Storage, study: optuna.Study, prepared: Prepared, tmp_path: Path) -> Evaluate:
    def one(**options: Any) -> dict[str, Any]:
        given = {"data_root": None, "out": tmp_path / "out", "forced": False} | options
        return evaluate(storage, study, prepared, **given)

    return one


def test_a_missing_replicate_is_trained_before_anything_is_opened(
    storage: Storage, study: optuna.Study, end: End, run: Evaluate
) -> None:
    end(TrialState.COMPLETE)
    end(TrialState.FAIL)
    expected = (
        r"2 of 3 replicates .* \(trial 1: made to be FAIL; trial 2: waiting\); nothing was opened"
    )
    with pytest.raises(RefusedError, match=expected):
        run()
    assert ledger.openings(storage) == []
    # the same command queues the failed one again
    prepare(storage, study, trial=None, n_replicates=3)
    end(TrialState.COMPLETE)
    end(TrialState.COMPLETE)
    assert run()["replicates"] == 3


def test_a_replicate_without_memory_is_trained_again(
    storage: Storage, study: optuna.Study, end: End, run: Evaluate, prepared: Prepared
) -> None:
    """It ended as pruned trials do, and was counted among the diverged ones for ever."""
    end(TrialState.COMPLETE)
    waiting = prepared.study.get_trials(deepcopy=False)[1]._trial_id
    prepared.study._storage.set_trial_user_attr(waiting, "ending", "out_of_memory")
    end(TrialState.PRUNED)
    end(TrialState.COMPLETE)
    with pytest.raises(RefusedError, match=r"1 of 3 replicates .* \(trial 1: out of memory\)"):
        run()
    prepare(storage, study, trial=None, n_replicates=3)
    leases, me = Leases(storage, prepared.study), own_identity("cpu")
    assert isinstance(leases.claim(me, 4, may_create=False), Claim)


def test_a_diverged_replicate_is_a_result_and_named(
    end: End, run: Evaluate, prepared: Prepared, capsys: pytest.CaptureFixture[str]
) -> None:
    for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE):
        end(state)
    result = run()
    assert result["diverged_seeds"] == [prepared.seeds[1]]
    assert result["seeds"] == [prepared.seeds[0], prepared.seeds[2]]
    show_result(result)
    assert "1 of 3 replicates diverged" in capsys.readouterr().out


def test_trainings_that_chose_the_winner_are_named(
    end: End, run: Evaluate, prepared: Prepared, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in prepared.seeds:
        end(TrialState.COMPLETE)
    winner = Finalist(prepared.winner.number, 0.9, [0.97], None, None)
    race = Raced([winner, Finalist(99, 0.9, [0.96], None, None)], 0.003, winner.trial, "best")
    result = run(selection=replace(race, is_ladder=True).as_dict())
    show_result(result)
    assert "the first training of the winner chose it on validation" in capsys.readouterr().out
    # the values of a second stage are of seeds of their own
    show_result(result | {"selection": race.as_dict()})
    assert "chose it" not in capsys.readouterr().out


def test_refits_that_all_diverged_are_named(
    storage: Storage,
    study: optuna.Study,
    end: End,
    run: Evaluate,
    prepared: Prepared,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The terminal said nothing, as if --train-val had not been asked for."""
    for _ in prepared.seeds:
        end(TrialState.COMPLETE)
    plain = replicates(prepared.study, prepared.winner.number, prepared.seeds)
    refits = refit_study(storage, info(study), prepared.winner, plain, prepared.seeds)
    leases, me = Leases(storage, refits), own_identity("cpu")
    for _ in prepared.seeds:
        claim = leases.claim(me, 3, may_create=False)
        assert isinstance(claim, Claim)
        leases.finish(me, claim.trial_id, TrialState.PRUNED, None)
    result = run(refits=refits)
    assert result["declared_options"] == []
    stored = json.loads((tmp_path / "out" / "result.json").read_text())
    assert stored["diverged_refit_seeds"] == prepared.seeds
    show_result(result)
    assert "3 of 3 trainings on train and validation together diverged" in capsys.readouterr().out


def test_of_two_evaluations_at_the_same_time_one_opens_the_split(
    storage: Storage, end: End, run: Evaluate
) -> None:
    """Both were allowed to begin hours ago."""
    for _ in range(3):
        end(TrialState.COMPLETE)
    run()
    with pytest.raises(RefusedError, match="already opened for 'tiny' \\(trial 0"):
        run()
    assert run(forced=True)["test_openings"] == len(ledger.openings(storage)) == 2


def test_the_plain_result_is_kept_whatever_happens_to_a_declared_option(
    storage: Storage, end: End, run: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        end(TrialState.COMPLETE)
    monkeypatch.setattr(final, "averaged", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(averaging=Averaging(True, False))
    (opening,) = ledger.openings(storage)
    assert opening.result is not None
    assert len(opening.result["test_macro_f1"]["values"]) == 3
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == opening.result


def test_weights_that_do_not_fit_cost_no_opening_and_not_the_earlier_ones(
    storage: Storage, end: End, run: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        end(TrialState.COMPLETE)
    out = tmp_path / "out"
    out.mkdir()
    (out / "replicate-4.pt").write_text("of an earlier evaluation of five")

    saved = checkpoint.save

    def full(path: Path, payload: dict[str, Any]) -> None:
        if path.parent == out:
            raise OSError(28, "No space left on device")
        saved(path, payload)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", full)
        with pytest.raises(UsageError, match=r"No space left on device.*nothing was opened"):
            run()
    assert [path.name for path in out.iterdir()] == ["replicate-4.pt"]
    assert ledger.openings(storage) == []
    run()
    assert sorted(path.name for path in out.glob("*.pt")) == [f"replicate-{i}.pt" for i in range(3)]


def test_the_race_in_the_result_is_the_one_that_chose(
    end: End, run: Evaluate, study: optuna.Study
) -> None:
    """A trial that is named by hand was not chosen by an earlier race."""
    for _ in range(3):
        end(TrialState.COMPLETE)
    study.set_user_attr("selection", {"winner": 7})
    assert run()["selection"] is None
    assert run(selection={"winner": 0}, forced=True)["selection"] == {"winner": 0}


def test_data_that_are_wrong_or_missing_cost_no_opening(
    storage: Storage, end: End, run: Evaluate, data: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        end(TrialState.COMPLETE)
    other = replace(data, fingerprint=replace(data.fingerprint, content_hash="f" * 32))

    def missing(*args: object) -> Dataset:
        raise DataError("bloodmnist.npz is not in the folder")

    for load, error in ((lambda *args: other, RefusedError), (missing, DataError)):
        with monkeypatch.context() as patch:
            patch.setattr(data_module, "load_dataset", load)
            patch.setattr(final, "load_dataset", load, raising=False)
            with pytest.raises(error):
                run()
    assert ledger.openings(storage) == []
    assert run()["test_openings"] == 1


def test_a_refused_evaluation_leaves_the_weights_of_the_one_that_succeeded(
    end: End, run: Evaluate, tmp_path: Path
) -> None:
    """Two began at once on one study, with one folder; the second is refused by the ledger."""
    for _ in range(3):
        end(TrialState.COMPLETE)
    result = run()
    out = tmp_path / "out"
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    with pytest.raises(RefusedError, match="already opened"):
        run()
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == before
    weights = [checkpoint.load(out / f"replicate-{i}.pt") for i in range(3)]
    assert {payload["evaluation"] for payload in weights} == {result["evaluation"]}
    assert [payload["seed"] for payload in weights] == result["seeds"]


def test_a_result_that_could_not_be_written_can_be_had_again(
    storage: Storage,
    study: optuna.Study,
    end: End,
    run: Evaluate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for _ in range(3):
        end(TrialState.COMPLETE)
    out = tmp_path / "out"

    def full(path: Path, data: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("bloodsearch.search.evaluation.folder.write_json", full)
        with pytest.raises(UsageError, match="but the database holds it"):
            run()
    (opening,) = ledger.openings(storage)
    assert opening.result is not None
    again = stored_again(storage, study, trial=None, n_replicates=3, out=out)
    assert again is not None
    assert again["test_macro_f1"] == opening.result["test_macro_f1"]
    assert json.loads((out / "result.json").read_text()) == again
    assert sorted(path.name for path in out.glob("*.pt")) == [f"replicate-{i}.pt" for i in range(3)]
    assert len(ledger.openings(storage)) == 1
    # it is there now, and other requests are no repetition of this one
    assert stored_again(storage, study, trial=None, n_replicates=3, out=out) is None
    for trial, n in ((7, 3), (None, 2)):
        elsewhere = tmp_path / "elsewhere"
        assert stored_again(storage, study, trial=trial, n_replicates=n, out=elsewhere) is None
        assert not elsewhere.exists()
    no = stored_again(
        storage, study, trial=None, n_replicates=3, out=elsewhere, serves=lambda result: False
    )
    assert no is None
    assert not elsewhere.exists()


def test_a_result_that_the_database_lacks_is_stored_there(
    storage: Storage,
    study: optuna.Study,
    end: End,
    run: Evaluate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was down after the opening: a second opening is not needed."""
    for _ in range(3):
        end(TrialState.COMPLETE)

    def down(*args: object) -> None:
        raise StorageError("the storage did not answer")

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "record_result", down)
        with pytest.raises(StorageError, match=r"the result is in .*out, .* opens nothing"):
            run()
    assert [opening.result for opening in ledger.openings(storage)] == [None]
    found = json.loads((tmp_path / "out" / "result.json").read_text())
    (tmp_path / "other").mkdir()
    for wrong in ({"trial": 9}, {"ledger_row": 2}, {"storage": "sqlite:///other.db"}):
        (tmp_path / "other" / "result.json").write_text(json.dumps(found | wrong))
        other = tmp_path / "other"
        assert stored_again(storage, study, trial=None, n_replicates=3, out=other) is None
    again = stored_again(storage, study, trial=None, n_replicates=3, out=tmp_path / "out")
    assert again == found
    assert [opening.result for opening in ledger.openings(storage)] == [found]


def test_a_result_is_stored_once_the_database_answers(
    storage: Storage, end: End, run: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        end(TrialState.COMPLETE)
    begin, record, failures = sa.Engine.begin, ledger.record_result, list[bool]()

    def flaky(engine: sa.Engine) -> Any:
        if failures:
            failures.pop()
            raise sa.exc.OperationalError("UPDATE", {}, Exception("database is locked"))
        return begin(engine)

    def record_result(*args: Any) -> None:
        failures.extend([True, True])
        record(*args)

    monkeypatch.setattr(sa.Engine, "begin", flaky)
    monkeypatch.setattr(ledger, "record_result", record_result)
    result = run()
    assert failures == []
    (opening,) = ledger.openings(storage)
    assert opening.result is not None
    assert opening.result["evaluation"] == result["evaluation"]


def test_an_opening_is_on_the_disk_before_the_split_is_read(
    storage: Storage, end: End, run: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit to SQLite's journal waits for no disk; a power cut could undo it."""
    for _ in range(3):
        end(TrialState.COMPLETE)
    done: list[str] = []
    execute = sa.Connection.exec_driver_sql

    def noted(self: sa.Connection, sql: str, *more: Any) -> Any:
        done.append(sql)
        return execute(self, sql, *more)

    monkeypatch.setattr(sa.Connection, "exec_driver_sql", noted)
    read = data_module.open_test_split

    def opened(*args: Any, record: Callable[[], None], **more: Any) -> Any:
        record()
        done.append("read")
        return read(*args, record=lambda: None, **more)

    monkeypatch.setattr("bloodsearch.search.evaluation.opening.open_test_split", opened)
    run()
    order = [what for what in done if "wal_checkpoint" in what or what == "read"]
    assert order[:2] == ["PRAGMA wal_checkpoint(PASSIVE)", "read"]


def test_a_result_can_be_had_again_without_its_weights(
    storage: Storage, study: optuna.Study, end: End, run: Evaluate, tmp_path: Path
) -> None:
    """A damaged file of weights hid the figures, which an opening had been spent on."""
    for _ in range(3):
        end(TrialState.COMPLETE)
    run()
    for path in tmp_path.glob("*.weights.pt"):
        path.write_bytes(b"damaged")
    again = stored_again(storage, study, trial=None, n_replicates=3, out=tmp_path / "again")
    assert again is not None
    assert {path.name for path in (tmp_path / "again").iterdir()} == {"config.json", "result.json"}


def test_an_opening_that_was_cut_off_is_named(
    end: End, run: Evaluate, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        end(TrialState.COMPLETE)
    with monkeypatch.context() as patch:
        patch.setattr(final, "final_scores", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run()
    with pytest.raises(RefusedError, match="opening 1 was cut off before its result was stored"):
        run()


def test_a_full_disk_is_noticed_before_anything_is_opened(
    storage: Storage, end: End, run: Evaluate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Creating an empty file works on a full disk; writing a result does not."""
    for _ in range(3):
        end(TrialState.COMPLETE)

    def full(path: Path, data: bytes) -> int:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UsageError, match=r"No space left on device.*another --out"):
        run()
    assert ledger.openings(storage) == []
    assert list((tmp_path / "out").iterdir()) == []


def test_openings_are_counted_by_data_in_the_storage(
    storage: Storage, end: End, run: Evaluate, data: Dataset
) -> None:
    """Another study name does not start at zero; other data do not count."""
    for _ in range(3):
        end(TrialState.COMPLETE)
    for name, content in (("other", data.fingerprint.content_hash), ("elsewhere", "f" * 32)):
        ledger.record_opening(
            storage, name, trial=0, n_replicates=1, data_hash=content, forced=False
        )
    result = run()
    assert (result["test_openings"], result["test_openings_in_storage"]) == (1, 2)


def test_validation_scores_are_what_the_files_give(
    end: End, run: Evaluate, data: Dataset, prepared: Prepared
) -> None:
    """Trained in bfloat16, predicted in float32: the stored value is the file's."""
    for _ in range(3):
        end(TrialState.COMPLETE)
    result = run()
    assert result["val_macro_f1"]["values"] != [0.5] * 3  # what the trainings had stored
    predict = predictor(replicates(prepared.study, prepared.winner.number, prepared.seeds)[0])
    predicted = predict(data.val_images).argmax(axis=1)
    expected = f1_score(data.val_labels, predicted, average="macro")
    assert result["val_macro_f1"]["values"][0] == pytest.approx(expected, abs=1e-12)


def test_predictions_of_the_opening_are_kept_and_give_the_results_figures(
    storage: Storage, end: End, run: Evaluate, tmp_path: Path
) -> None:
    for _ in range(3):
        end(TrialState.COMPLETE)
    result = run()
    with np.load(tmp_path / "out" / "predictions.npz", allow_pickle=False) as kept:
        labels, probabilities = kept["test_labels"], kept["test_probabilities"]
        assert str(kept["evaluation"]) == result["evaluation"]
        assert kept["seeds"].tolist() == result["seeds"]
    scores = [f1_score(labels, p.argmax(axis=1), average="macro") for p in probabilities]
    assert scores == pytest.approx(result["test_macro_f1"]["values"], abs=1e-12)
    bins = np.asarray(result["calibration"]["before"]["bins"])
    assert bins[:, 0].sum() == 3 * len(labels)
    assert bins[:, 2].sum() == pytest.approx(np.trace(result["confusion_matrix"]))
    for one in result["per_class"]:
        assert one["f1_interval_95"][0] <= one["f1"] <= one["f1_interval_95"][1]
    (opening,) = ledger.openings(storage)
    assert opening.result is not None
    assert (
        opening.result["calibration"]
        == json.loads((tmp_path / "out" / "result.json").read_text())["calibration"]
    )


def test_predictions_that_cannot_be_written_cost_no_figure(
    storage: Storage, study: optuna.Study, end: End, run: Evaluate, tmp_path: Path
) -> None:
    for _ in range(3):
        end(TrialState.COMPLETE)
    (tmp_path / "out" / "predictions.npz").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"predictions.npz .* the database holds the same figures"):
        run()
    (opening,) = ledger.openings(storage)
    assert opening.result is not None
    assert (tmp_path / "out" / "result.json").exists()
    assert "final_evaluation" in study.user_attrs
