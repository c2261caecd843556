"""`status`: what it shows before, while and after, and the command that comes next."""

from __future__ import annotations

import json
import socket

import pytest
from report_support import fake_trial
from tests_support import tiny

from bloodsearch.search.cli import main
from bloodsearch.search.database.storage import Storage
from bloodsearch.search.evaluation import ledger
from bloodsearch.search.workers.leases import Claim, Leases
from bloodsearch.search.workers.liveness import own_identity

SPREAD = {"mean": 0.924, "std": 0.0005, "n": 2, "values": [0.9235, 0.9245]}
RESULT = {
    "study": "tiny", "dataset": "x", "data_hash": "x", "trial": 1, "params": {}, "replicates": 2,
    "seeds": [1, 2], "test_macro_f1": SPREAD, "test_accuracy": SPREAD, "test_weighted_f1": SPREAD,
    "per_class": [], "confusion_matrix": [[1]], "val_macro_f1": SPREAD, "test_openings": 1,
    "out": "final/tiny",
}  # fmt: skip


def status(storage: Storage, capsys: pytest.CaptureFixture[str], *extra: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["status", "tiny", "--storage", storage.full_url, *extra])
    out, err = capsys.readouterr()
    assert not ended.value.code, err
    return out


def test_the_next_command_follows_the_state(
    sqlite_storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tiny(sqlite_storage)
    url = sqlite_storage.shown
    fake_trial(study, 0, 0.5)
    study.set_user_attr("n_trials", 2)
    text = status(sqlite_storage, capsys)
    assert "1 of 2 trials finished: 1 complete, 0 pruned, 0 failed" in text
    assert f"next: bloodsearch optimize --name tiny --storage {url} --trials 2" in text
    fake_trial(study, 1, 0.6)
    text = status(sqlite_storage, capsys)
    assert "next: bloodsearch leaderboard tiny --storage" in text
    assert "      bloodsearch final-eval tiny --storage" in text
    opening = ledger.record_opening(
        sqlite_storage, "tiny", trial=1, n_replicates=2, data_hash="x", forced=False
    )
    ledger.record_result(sqlite_storage, opening, RESULT)
    text = status(sqlite_storage, capsys)
    assert (
        "winner trial 1: test macro-F1 0.9240, sd 0.0005 over 2 seeds; files in final/tiny" in text
    )
    assert "test split opened: 1" in text
    assert "next: bloodsearch report tiny" in text


def test_a_running_worker_is_a_row(
    sqlite_storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tiny(sqlite_storage)
    study.set_user_attr("n_trials", 2)
    leases, worker = Leases(sqlite_storage, study), own_identity("cuda:7")
    claim = leases.claim(worker, 2, may_create=True)
    assert isinstance(claim, Claim)
    sqlite_storage.optuna.set_trial_user_attr(claim.trial_id, "family", "mlp")
    leases.report(worker, claim.trial_id, 1, 0.75)
    text = status(sqlite_storage, capsys)
    (row,) = [line for line in text.splitlines() if line.startswith("cuda:7 ")]
    assert row.split()[2:6] == ["0", "mlp", "1/3", "0.7500"]
    assert "--watch" in text
    found = json.loads(status(sqlite_storage, capsys, "--json"))
    (worker_row,) = found["workers"]
    assert worker_row["device"] == "cuda:7"
    assert (worker_row["trial"], worker_row["curve"]) == (0, [0.75])


def test_workers_of_a_cluster_are_shown_by_node(
    sqlite_storage: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    leases = Leases(sqlite_storage, tiny(sqlite_storage))
    for node in ("a" * 56, "b" * 56, "a" * 56):
        leases.registry.register(own_identity("cpu", node=node))
    text, host = status(sqlite_storage, capsys), socket.gethostname()
    nodes = f"{host} ({'a' * 12}): 2, {host} ({'b' * 12}): 1"
    assert f"workers on the cluster's nodes: {nodes}\n" in text
    found = json.loads(status(sqlite_storage, capsys, "--json"))
    assert sorted(row["node"] for row in found["workers"]) == ["a" * 12, "a" * 12, "b" * 12]


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (["status", "tinny"], 4, "no study 'tinny' (did you mean 'tiny'?) in "),
        (["show", "tiny", "4"], 2, "bloodsearch show 4 STUDY"),
        (["studies", "show", "bloodmnits"], 2, "(did you mean 'bloodmnist'?)"),
    ],
)
def test_a_near_miss_is_told(
    args: list[str], code: int, words: str, sqlite_storage: Storage,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    tiny(sqlite_storage)
    monkeypatch.setenv("BLOODSEARCH_STORAGE", sqlite_storage.full_url)
    with pytest.raises(SystemExit) as ended:
        main(args)
    assert ended.value.code == code
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
