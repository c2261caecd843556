"""Commands on a CUDA device: how it is named, what a kill leaves behind, a model that moves to a CPU."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from optuna.trial import TrialState
from running_search import STUDY, in_training, kill_all, start, trials_of, wait_for, workers_of

from bloodsearch.search.data.synthetic import make_split
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.evaluation.scoring import load_model
from bloodsearch.search.model_file.export import trained_replicates
from bloodsearch.search.study import info, load
from bloodsearch.search.training.predict import predict_logits
from bloodsearch.search.trial.replay import replay_trial

Seen = Callable[[object], None]
DEVICE = "cuda:0"
N_EPOCHS = 40
LONG_STUDY = STUDY.replace("epochs = 12", f"epochs = {N_EPOCHS}").replace("= 1024", "= 32")
"""A study whose trials still train after some seconds on a fast device."""


@pytest.fixture(autouse=True)
def _none_left() -> Iterator[None]:
    yield
    kill_all()


@pytest.fixture
def study(sqlite_url: str) -> Iterator[Any]:
    yield from trials_of(sqlite_url)


def bloodsearch(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "bloodsearch", *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def search(url: str, device: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run four trials of two epochs."""
    asked = ("--trials", "4", "--epochs", "2", "--dataset", "synthetic", "--devices", device)
    return bloodsearch("optimize", "demo", *asked, "--storage", url, **variables)


def pids_on_device() -> set[int]:
    """The processes that hold a device, by nvidia-smi; without the command all processes."""
    if not shutil.which("nvidia-smi"):
        return set(psutil.pids())
    asked = ["nvidia-smi", "--query-compute-apps=pid", "--format=csv,noheader"]
    return {int(pid) for pid in subprocess.check_output(asked, text=True).split()}


@pytest.mark.gpu(expected="4 trials on cuda:0, a device that is visible by its number or UUID")
@pytest.mark.parametrize("visible", ["all", "number", "UUID"])
def test_a_small_search(sqlite_url: str, visible: str, seen: Seen) -> None:
    uuid = f"GPU-{torch.cuda.get_device_properties(DEVICE).uuid}"
    value = {"all": None, "number": "0", "UUID": uuid}[visible]
    done = search(sqlite_url, DEVICE, **({"CUDA_VISIBLE_DEVICES": value} if value else {}))
    assert done.returncode == 0, done.stderr
    name = torch.cuda.get_device_name(DEVICE)
    shown = bloodsearch("show", "0", "demo-synthetic", "--storage", sqlite_url)
    seen(f"exit code {done.returncode}, trial 0 on {name if name in shown.stdout else '?'}")
    assert name in shown.stdout


@pytest.mark.gpu(expected="cuda:7 is refused with exit code 2, as is any device if none is visible")
@pytest.mark.parametrize(("visible", "device"), [("0", "cuda:7"), ("", "cuda:0")])
def test_an_absent_device_is_refused(
    sqlite_url: str, visible: str, device: str, seen: Seen
) -> None:
    done = search(sqlite_url, device, CUDA_VISIBLE_DEVICES=visible)
    seen(f"exit code {done.returncode}: {done.stderr.strip()[:80]}")
    assert done.returncode == 2
    assert device in done.stderr


@pytest.mark.gpu(
    expected="another worker goes on from the checkpoint; scores within 0.1 of a replay"
)
def test_a_killed_worker(tmp_path: Path, sqlite_url: str, study: Any, seen: Seen) -> None:
    process = start(tmp_path, sqlite_url, 1, study=LONG_STUDY, device=DEVICE)
    wait_for(lambda: in_training(study))
    (worker,) = workers_of(process)
    worker.kill()
    said = tmp_path / "output.log"
    assert process.wait(240) == 0, said.read_text()
    assert f"a worker on {DEVICE} died (signal 9)" in said.read_text()
    storage = open_storage(sqlite_url, create=False)
    stored = load(storage, "chaos-synthetic")
    (trial,) = stored.trials
    replay = replay_trial(
        trial, info(stored), data_root=None, device=DEVICE, on_epoch=lambda *values: None
    )
    storage.close()
    seen(f"{len(replay.stored)} epochs, largest difference {replay.largest_difference:.3f}")
    assert trial.state is TrialState.COMPLETE
    assert len(replay.stored) == N_EPOCHS
    assert replay.largest_difference < 0.1


@pytest.mark.gpu(expected="no worker is left on the device, and no trial is left running")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_ended_search_leaves_no_process(
    tmp_path: Path, sqlite_url: str, study: Any, number: signal.Signals, seen: Seen
) -> None:
    process = start(tmp_path, sqlite_url, 2, 2, study=LONG_STUDY, device=DEVICE)
    wait_for(lambda: in_training(study))
    workers = workers_of(process)
    process.send_signal(number)
    code = process.wait(30)
    _, alive = psutil.wait_procs(workers, timeout=15)
    left = {worker.pid for worker in workers} & pids_on_device()
    seen(f"exit code {code}, {len(alive)} of {len(workers)} workers alive, {len(left)} on a device")
    assert len(workers) == 2
    assert not alive
    assert not left
    wait_for(lambda: all(t.state is not TrialState.RUNNING for t in study()), 30)


@pytest.mark.gpu(expected="probabilities within 1e-3 of the device's, predicted without a device")
def test_a_model_moves_to_a_cpu(tmp_path: Path, sqlite_url: str, seen: Seen) -> None:
    where = ("demo-synthetic", "--storage", sqlite_url)
    few = ("--replicates", "1", "--finalists", "1", "--devices", DEVICE, "--out", "final")
    model, images = str(tmp_path / "model.onnx"), make_split("val", 64)[0]
    np.savez(tmp_path / "cells.npz", images=images)
    for done in (
        search(sqlite_url, DEVICE),
        bloodsearch("final-eval", *where, *few),
        bloodsearch("export", *where, "--out", model),
    ):
        assert done.returncode == 0, done.stderr
    predict = ("predict", str(tmp_path / "cells.npz"), "--model", model, "--json")
    done = bloodsearch(*predict, CUDA_VISIBLE_DEVICES="")
    on_cpu = [list(p["probabilities"].values()) for p in json.loads(done.stdout)["predictions"]]
    storage = open_storage(sqlite_url, create=False)
    (trial,) = trained_replicates(storage, load(storage, "demo-synthetic")).trials
    storage.close()
    on_device = torch.from_numpy(images).to(DEVICE)
    logits = predict_logits(load_model(trial).to(DEVICE), on_device, torch.float32)
    difference = np.abs(logits.softmax(dim=1).cpu().numpy() - np.array(on_cpu)).max()
    seen(f"largest difference {difference:.1e} on {len(on_cpu)} images")
    assert difference < 1e-3
