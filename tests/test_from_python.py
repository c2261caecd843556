"""The library as README and docs show it: these tests run the code of their pages."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState
from PIL import Image
from tests_support import small_set
from worker_here import worker_here

import bloodsearch
from bloodsearch import make_sampler, open_storage, run_trials
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.workers.leases import Leases
from bloodsearch.search.workers.registry import Registry

ROOT = Path(__file__).parents[1]


def code(page: str) -> str:
    """Return the one Python block of a page."""
    (block,) = re.findall(
        r"```python\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL
    )
    return str(block)


FROM_PYTHON = code("README.md")
OWN_OBJECTIVE = code("docs/guides/python.md")


@pytest.mark.slow
def test_the_ten_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cells.png")
    # a shorter training than the README's; the calls are the same
    short = FROM_PYTHON.replace("trials=4", "trials=3, epochs=1, overrides=SHORT")
    small = {"training.final_epochs": 1, "space.arch": "mlp", "space.mlp_width": [16, 32]}
    names: dict[str, object] = {"SHORT": small}
    with small_set(), worker_here():
        exec(short, names)
    out, err = capsys.readouterr()
    assert "Prediction(file='cells.png'" in out
    assert "report.html" in out
    assert err == ""
    assert (tmp_path / "model.onnx").is_file()
    with pytest.raises(bloodsearch.RefusedError, match="already opened"):
        bloodsearch.final_eval(storage="sqlite:///search.db", name="first")


def objective(trial: optuna.Trial) -> float:
    lr = trial.suggest_float("lr", 1e-4, 1e-1, log=True)
    for epoch in range(1, 6):
        trial.report(1 - abs(lr - 0.01) - 0.1 / epoch, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return 1 - abs(lr - 0.01)


def test_an_objective_of_my_own() -> None:
    names: dict[str, object] = {"objective": objective}
    exec(OWN_OBJECTIVE, names)
    study = names["study"]
    assert isinstance(study, optuna.Study)
    states = [trial.state for trial in study.get_trials()]
    assert len(states) == 20
    assert set(states) == {TrialState.COMPLETE, TrialState.PRUNED}
    exec(OWN_OBJECTIVE, names)
    assert len(study.get_trials()) == 20


def test_several_share_one_budget(storage_url: str) -> None:
    first = open_storage(storage_url, create=True)
    optuna.create_study(study_name="mine", storage=first.optuna, direction="maximize")

    def work() -> None:
        storage = open_storage(storage_url, create=False)
        study = optuna.load_study(
            study_name="mine", storage=storage.optuna, sampler=make_sampler(startup_trials=4)
        )
        run_trials(storage, study, objective, 10)
        storage.close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    study = optuna.load_study(study_name="mine", storage=first.optuna)
    states = {trial.state for trial in study.get_trials()}
    assert states <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert [trial.number for trial in study.get_trials()] == list(range(10))
    first.close()


def test_an_error_fails_its_trial_and_an_interruption_gives_it_back(sqlite_url: str) -> None:
    storage = open_storage(sqlite_url, create=True)
    study = optuna.create_study(study_name="mine", storage=storage.optuna)
    for error, state in ((ValueError, TrialState.FAIL), (KeyboardInterrupt, TrialState.WAITING)):

        def broken(trial: optuna.Trial, error: type[BaseException] = error) -> float:
            raise error

        with pytest.raises(error):
            run_trials(storage, study, broken, 5)
        assert study.get_trials()[-1].state is state
    run_trials(storage, study, lambda trial: 0.5, 2)
    assert [t.state.name for t in study.get_trials()] == ["FAIL", "COMPLETE", "COMPLETE"]
    storage.close()


@pytest.fixture
def mine(sqlite_url: str) -> Iterator[tuple[Storage, optuna.Study]]:
    storage = open_storage(sqlite_url, create=True)
    yield storage, optuna.create_study(study_name="mine", storage=storage.optuna)
    storage.close()


def away(monkeypatch: pytest.MonkeyPatch, owner: type[object], method: str, n_times: float) -> None:
    """Let the database be down for the first `n_times` calls of a method."""
    original: Callable[..., object] = getattr(owner, method)
    calls: list[int] = []

    def call(*args: object) -> object:
        calls.append(1)
        if len(calls) <= n_times:
            raise sa.exc.OperationalError("UPDATE", {}, Exception("server closed the connection"))
        return original(*args)

    monkeypatch.setattr(owner, method, call)


def test_a_result_waits_for_the_database(
    mine: tuple[Storage, optuna.Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours of an objective once were lost to a restart of the server at their end."""
    away(monkeypatch, Registry, "register", 1)
    away(monkeypatch, Leases, "finish", 1)
    run_trials(*mine, lambda trial: 0.5, 2)
    assert [(t.state, t.value) for t in mine[1].get_trials()] == [(TrialState.COMPLETE, 0.5)] * 2


@pytest.mark.parametrize(
    ("error", "method", "state"),
    [
        (ValueError, "finish", TrialState.FAIL),
        (KeyboardInterrupt, "release", TrialState.WAITING),
    ],
)
def test_an_outage_does_not_hide_why_an_objective_ended(
    mine: tuple[Storage, optuna.Study],
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
    method: str,
    state: TrialState,
) -> None:
    def broken(trial: optuna.Trial) -> float:
        raise error

    with monkeypatch.context() as brief:
        away(brief, Leases, method, 1)
        with pytest.raises(error):
            run_trials(*mine, broken, 5)
    assert mine[1].get_trials()[-1].state is state
    monkeypatch.setenv("BLOODSEARCH_OUTAGE_S", "0.1")
    monkeypatch.setattr("bloodsearch.search.api.trials.RELEASE_S", 0.1)
    away(monkeypatch, Leases, method, math.inf)
    with pytest.raises(error):
        run_trials(*mine, broken, 5)


def test_every_exported_name_is_there() -> None:
    for name in bloodsearch.__all__:
        assert getattr(bloodsearch, name) is not None
    assert set(bloodsearch.__all__) <= set(dir(bloodsearch))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        bloodsearch.nothing  # noqa: B018
