"""`optimize` from Python: sources of a study, events, notebooks, threads, and what it refuses."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState

from bloodsearch import RefusedError, StudyFileError, UsageError, load_study, optimize
from bloodsearch.search.api import one_search, training
from bloodsearch.search.api.events import (
    Event,
    Notice,
    RunEnded,
    RunStarted,
    SearchEnded,
    TrialEnded,
)
from bloodsearch.search.api.placement import Placement
from bloodsearch.search.api.results import SearchResult
from bloodsearch.search.api.study import load_part
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.errors import DataError, Interrupted, StorageError
from bloodsearch.search.workers import waiting
from bloodsearch.search.workers.leases import Leases
from bloodsearch.search.workers.liveness import own_identity

pytestmark = pytest.mark.usefixtures("simulated")

ONE = Placement(devices="cpu", workers=1)
MINE = {
    "name": "mine",
    "training": {"epochs": 2, "final_epochs": 2},
    "space": {
        "arch": "mlp",
        "optimizer": "adam",
        "lr": {"low": 1e-4, "high": 1e-1, "log": True},
        "mlp_width": [8, 16],
    },
}
GRID = MINE | {
    "search": {"sampler": "grid"},
    "space": {"arch": "mlp", "optimizer": "adam", "lr": [0.001, 0.01], "mlp_width": [8, 16]},
}
BASELINES = MINE | {
    "baselines": [
        {"name": f"b{i}", "params": {"arch": "mlp", "optimizer": "adam", "lr": 0.001 * (i + 1)}}
        for i in range(2)
    ]
}


def search(
    url: str, study: object = MINE, trials: int | None = 2, **options: object
) -> SearchResult:
    """Run a small search with one simulated worker."""
    defaults: dict[str, object] = {"dataset": "synthetic", "placement": ONE}
    return optimize(study, trials=trials, storage=url, **(defaults | options))  # type: ignore[arg-type]


def notices(events: list[Event]) -> str:
    return "\n".join(event.text for event in events if isinstance(event, Notice))


def test_a_dictionary_with_overrides(sqlite_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = search(sqlite_url, overrides={"training.epochs": 3, "space.mlp_width": [8]})
    assert (result.study, result.complete, result.in_time) == ("mine-synthetic", 2, True)
    assert result.as_dict()["n_trials"] == 2
    assert capsys.readouterr() == ("", "")
    stored = load_study(name=result.study, storage=sqlite_url)
    settings = stored.study.user_attrs["study_file"]
    assert settings["space"]["mlp_width"] == [8]
    assert MINE["training"] == {"epochs": 2, "final_epochs": 2}, (
        "the user's dictionary is not changed"
    )
    assert [row.state for row in stored.leaderboard()] == ["complete"] * 2
    with pytest.raises(UsageError, match="numbered 0 to 1"):
        stored.trial(99)
    stored.close()


@pytest.mark.parametrize(
    ("study", "overrides", "message"),
    [
        (MINE | {"space": {"arch": "vit"}}, None, "vit"),
        ({}, None, "missing|field required"),
        (MINE, {"training.epoch": 3}, "unknown key"),
        (MINE, ["training.epochs"], "KEY=VALUE"),
        ("nothing", None, "no study file"),
    ],
)
def test_a_wrong_study_is_one_line(
    sqlite_url: str, study: object, overrides: object, message: str
) -> None:
    with pytest.raises(StudyFileError, match=message) as raised:
        search(sqlite_url, study, overrides=overrides)
    assert "\n" not in str(raised.value)
    assert not Path(sqlite_url.removeprefix("sqlite:///")).exists()


def test_fewer_groups_than_folds_are_refused_in_one_line(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {}
    for split, n in (("train", 20), ("val", 10), ("test", 10)):
        arrays[f"{split}_images"] = np.zeros((n, 8, 8), np.uint8)
        arrays[f"{split}_labels"] = (np.arange(n) % 2).astype(np.uint8)
        arrays[f"{split}_groups"] = np.arange(n) % 3
    np.savez(tmp_path / "cells.npz", **arrays)
    url = f"sqlite:///{tmp_path}/new.db"
    with pytest.raises(DataError, match=r"in 3 groups, too few for 5 folds; --set search.folds=3"):
        search(url, None, dataset=str(tmp_path / "cells.npz"))
    assert not (tmp_path / "new.db").exists()


def test_events_come_in_order_and_read_as_lines(sqlite_url: str) -> None:
    events: list[Event] = []
    search(sqlite_url, on_progress=events.append)
    kinds = [type(event) for event in events]
    assert kinds.index(RunStarted) < kinds.index(TrialEnded) < kinds.index(RunEnded)
    assert kinds[-1] is SearchEnded
    assert kinds.count(TrialEnded) == 2
    assert all("\n" not in str(event) for event in events)
    assert "trial    0" in str(next(e for e in events if isinstance(e, TrialEnded)))


def test_inside_a_running_event_loop(sqlite_url: str) -> None:
    """As in a notebook, whose cells run inside Jupyter's event loop."""

    async def cell() -> SearchResult:
        return search(sqlite_url)

    assert asyncio.run(cell()).complete == 2


def test_in_a_thread_beside_a_running_loop(sqlite_url: str) -> None:
    async def cell() -> SearchResult:
        return await asyncio.to_thread(search, sqlite_url)

    before = signal.getsignal(signal.SIGINT)
    assert asyncio.run(cell()).complete == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_a_callback_that_raises_stops_the_search(sqlite_url: str) -> None:
    def stop_after_one(event: Event) -> None:
        if isinstance(event, TrialEnded):
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        search(sqlite_url, trials=50, on_progress=stop_after_one)
    storage = open_storage(sqlite_url, create=False)
    leases = Leases(storage, optuna.load_study(study_name="mine-synthetic", storage=storage.optuna))
    assert leases.registry.workers() == []
    assert leases.counts()[TrialState.RUNNING] == 0
    storage.close()
    assert search(sqlite_url, trials=4).complete >= 4


_INTERRUPTED = """
import sys, threading, _thread
from pathlib import Path
import bloodsearch
from bloodsearch.search.data import synthetic
from bloodsearch.search.workers import launch

make = synthetic.make_split
synthetic.make_split = lambda split: make(split, 16)
launch.PROGRAM = ("-P", sys.argv[2])
study = {study!r}
try:
    bloodsearch.optimize(
        study, trials=500, storage=sys.argv[1], dataset="synthetic",
        placement=bloodsearch.Placement("cpu", 2), on_progress=lambda event: print(event, flush=True),
    )
except bloodsearch.Interrupted as drained:
    print("DRAINED", drained, threading.active_count(), flush=True)
"""


def test_interrupting_the_kernel_drains_and_resumes(sqlite_url: str, tmp_path: Path) -> None:
    from tests_support import SIMULATED_WORKER

    script = tmp_path / "cell.py"
    script.write_text(textwrap.dedent(_INTERRUPTED).format(study=MINE))
    with subprocess.Popen(
        [sys.executable, "-P", str(script), sqlite_url, str(SIMULATED_WORKER)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        # a background job's children ignore Ctrl-C
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
    ) as cell:
        assert cell.stdout is not None
        lines = iter(cell.stdout.readline, "")
        assert any(line.startswith("trial ") for line in lines)
        cell.send_signal(signal.SIGINT)
        rest = cell.stdout.read()
        assert cell.wait(30) == 0, rest
        assert "DRAINED" in rest
        assert rest.strip().endswith(" 1"), "no thread is left that could end the kernel"
    storage = open_storage(sqlite_url, create=False)
    leases = Leases(storage, optuna.load_study(study_name="mine-synthetic", storage=storage.optuna))
    counts = leases.counts()
    assert counts[TrialState.RUNNING] == counts[TrialState.FAIL] == 0
    assert leases.registry.workers() == []
    n_done = counts[TrialState.COMPLETE]
    storage.close()
    assert search(sqlite_url, trials=n_done + 2).complete == n_done + 2


def test_a_stored_study_is_resumed_by_its_name(sqlite_url: str) -> None:
    search(sqlite_url, name="x", overrides=["training.epochs=1"])
    result = search(sqlite_url, None, 3, name="x", dataset=None)
    assert (result.complete, result.dataset) == (3, "synthetic")
    with pytest.raises(
        RefusedError, match=r"bloodsearch optimize --name x --storage .* --trials 3"
    ):
        search(sqlite_url, MINE, 3, name="x")


def test_a_finished_search_starts_no_worker(sqlite_url: str) -> None:
    search(sqlite_url, trials=3)
    events: list[Event] = []
    assert search(sqlite_url, trials=2, on_progress=events.append).complete == 3
    assert RunStarted not in map(type, events)
    assert "3 trials are finished already" in notices(events)


def test_a_grid_is_its_own_budget(sqlite_url: str) -> None:
    events: list[Event] = []
    result = search(sqlite_url, GRID, trials=9, on_progress=events.append)
    assert (result.complete, result.n_trials) == (4, 4)
    assert "the grid has 4 points; the budget of 9 is reduced" in notices(events)


def test_searched_trials_come_before_and_between_baselines(sqlite_url: str) -> None:
    events: list[Event] = []
    result = search(sqlite_url, BASELINES, trials=2, on_progress=events.append)
    rows = load_study(name=result.study, storage=sqlite_url)
    names = {row.number: row.baseline for row in rows.leaderboard()}
    rows.close()
    assert names == {0: None, 1: "b0"}
    assert "2 of the next trials are the study's baselines (b0, b1)" in notices(events)


def test_baselines_of_a_stored_study_by_its_name(sqlite_url: str) -> None:
    """Its budget is that of the search, and its file the one that it was created with."""
    search(sqlite_url, BASELINES, trials=2, name="x")
    with pytest.raises(StorageError, match=r"bloodsearch optimize --only baselines .*--name x"):
        load_part(None, "baselines", storage=sqlite_url, name="x")
    result = search(sqlite_url, None, None, name="x", only="baselines", replicates=2, dataset=None)
    assert (result.study, result.complete) == ("x-baselines", 4)
    opened = load_part(None, "baselines", storage=sqlite_url, name="x")
    assert opened.study.study_name == "x-baselines"
    opened.storage.close()


def test_a_database_that_restarts_at_the_very_end_is_waited_for(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The budget is spent: an outage of a second must not end the command with an error."""
    outages = [sa.exc.OperationalError("SELECT 1", {}, Exception("gone"))] * 2
    from bloodsearch.search.summary import summarize as read

    def summarize(*args: Any) -> dict[str, Any]:
        if outages:
            raise outages.pop()
        return read(*args)

    monkeypatch.setattr(one_search, "summarize", summarize)
    assert search(sqlite_url).complete == 2
    assert not outages

    def interrupted(*args: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(one_search, "summarize", interrupted)
    with pytest.raises(Interrupted, match="the same command shows the result"):
        search(sqlite_url, trials=2)


def test_without_baselines(sqlite_url: str) -> None:
    result = search(sqlite_url, BASELINES, trials=3, baselines=False)
    rows = load_study(name=result.study, storage=sqlite_url)
    assert [row.baseline for row in rows.leaderboard()] == [None] * 3
    rows.close()


@pytest.mark.parametrize(
    "name", ["x-finalists", "x-final-2", "x-final-2-train-val", "x-baselines", "x-grid"]
)
def test_names_of_parts_are_reserved(sqlite_url: str, name: str) -> None:
    with pytest.raises(UsageError, match="reserved for a part of the study 'x'"):
        search(sqlite_url, name=name)
    assert not Path(sqlite_url.removeprefix("sqlite:///")).exists()


def test_a_ladder_that_a_stored_study_does_not_take_is_said(sqlite_url: str) -> None:
    """--set ladder.finalists=5 was accepted without a word and changed nothing."""
    ladder: dict[str, object] = {"ladder": {"finalists": 2}}
    search(sqlite_url, MINE | ladder, create_only=True)
    for changes, is_said in (({}, False), ({"ladder.finalists": 5}, True)):
        events: list[Event] = []
        search(
            sqlite_url,
            MINE | ladder,
            create_only=True,
            overrides=changes,
            on_progress=events.append,
        )
        assert ("mine-synthetic keeps the [ladder] that it was made with" in notices(events)) == (
            is_said
        )


def test_other_workers_that_hold_the_last_trials_are_named(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a copied database, whose workers train somewhere else."""
    monkeypatch.setattr(waiting, "WAIT_NOTICE_S", 0.0)
    search(sqlite_url, trials=1, create_only=True)
    storage = open_storage(sqlite_url, create=False)
    leases = Leases(storage, optuna.load_study(study_name="mine-synthetic", storage=storage.optuna))
    leases.claim(own_identity("cpu"), 1, may_create=True)
    events: list[Event] = []
    started = threading.Event()

    def collect(event: Event) -> None:
        events.append(event)
        if "waiting for trials held by process" in str(event):
            started.set()
            raise TimeoutError

    with pytest.raises(TimeoutError):
        search(sqlite_url, trials=1, on_progress=collect, timeout_s=60)
    storage.close()
    assert started.is_set()
    assert "last heartbeat" in notices(events)
    assert "Ctrl-C stops waiting" in notices(events)


def test_no_process_is_forked() -> None:
    """A process that has loaded CUDA must not be forked: workers are new processes."""
    for file in (Path(training.__file__).parents[1]).rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "os.fork" not in text, file
        assert "multiprocessing" not in text, file
