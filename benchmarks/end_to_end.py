"""The main job, timed and read: a search of 100 trials, its second stage, the final evaluation.

    python -m benchmarks end_to_end         # the default study
    python -m benchmarks end_to_end_mlp     # the same, MLPs alone

The commands are a user's. At last the winner is trained again with five more seeds, as long as the second
stage trained it: does what the second stage said of it hold? With $BENCH_FOLDER an interrupted run goes on;
minutes are those in which trials ran. The test split is opened once, by `final-eval`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from benchmarks.common import save, shown, spread, table
from bloodsearch.search.api.placement import Placement
from bloodsearch.search.api.training import train_queued
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.evaluation.selection import queue_replicates
from bloodsearch.search.records import trial_record
from bloodsearch.search.seeds import derive_seed
from bloodsearch.search.study import create_or_resume, info, load

N_TRIALS, N_REPLICATES = 100, 5


def bloodsearch(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run a command to its end; its JSON."""
    command = [sys.executable, "-P", "-m", "bloodsearch", *arguments, "--json"]
    environment = {**os.environ, "BLOODSEARCH_STORAGE": url_in(folder)}
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, env=environment, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def url_in(folder: Path) -> str:
    return f"sqlite:///{folder.resolve() / 'bloodsearch.db'}"


def finished(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    return [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]


def spans(trials: list[FrozenTrial]) -> list[tuple[datetime, datetime]]:
    """When each trial was worked on; what was trained of it before an interruption counts as just before."""
    found = []
    for trial in finished(trials):
        assert trial.duration is not None
        assert trial.datetime_complete is not None
        trained = timedelta(seconds=trial_record(trial).train_seconds or 0.0)
        end = trial.datetime_complete
        found.append((end - max(trial.duration, trained), end))
    return sorted(found)


def minutes(trials: list[FrozenTrial]) -> float:
    """The clock's, without interruptions: as long as any trial ran."""
    total, until = timedelta(), datetime.min
    for start, end in spans(trials):
        total += max(end - max(start, until), timedelta())
        until = max(until, end)
    return total.total_seconds() / 60


def worker_minutes(trials: list[FrozenTrial]) -> float:
    return sum((end - start).total_seconds() for start, end in spans(trials)) / 60


def epochs(study: optuna.Study) -> tuple[int, int]:
    """Epochs that the trials trained, and that they would have trained without pruning."""
    planned = info(study).study_file.training.epochs_of
    trained = whole = 0
    for trial in finished(study.trials):
        n = len(trial.intermediate_values)
        trained += n
        pruned = trial.state is TrialState.PRUNED
        whole += planned(trial.user_attrs["family"]) if pruned else n
    return trained, whole


def promise(folder: Path, study_name: str, trial: int) -> list[float]:
    """Return the validation macro-F1 of the winner, trained again as long as the second stage did."""
    storage = open_storage(url_in(folder), create=False)
    study = load(storage, study_name)
    stored = info(study)
    again = create_or_resume(
        storage, f"{study_name}-again", stored.study_file, stored.fingerprint, kind="finalists"
    )
    winner = next(t for t in study.trials if t.number == trial)
    seeds = [derive_seed(stored.study_file.search.seed, "again", i) for i in range(N_REPLICATES)]
    if len(again.trials) < N_REPLICATES:
        queue_replicates(storage, again, winner, seeds)
    train_queued(storage, again, Placement("cpu"), data_root=None, on_progress=print)
    values = [t.value for t in load(storage, again.study_name).trials if t.value is not None]
    storage.close()
    return values


def run(arch: str | None = None) -> None:
    name = "bloodmnist" if arch is None else f"bloodmnist-{arch}"
    folder = Path(os.environ.get("BENCH_FOLDER") or tempfile.mkdtemp(prefix="bs-end-to-end-"))
    folder.mkdir(parents=True, exist_ok=True)
    only = [] if arch is None else ["--arch", arch]
    search = bloodsearch(folder, "optimize", "--trials", str(N_TRIALS), *only)
    kept = folder / "final" / name / "result.json"
    if not kept.exists():  # a second run must not open the test split again
        bloodsearch(folder, "final-eval", "--name", name, "--replicates", str(N_REPLICATES))
    final = json.loads(kept.read_text())
    again = promise(folder, name, final["trial"])
    storage = open_storage(url_in(folder), create=False)
    study = load(storage, name)
    trials, (trained, whole) = study.trials, epochs(study)
    raced = load(storage, f"{name}-finalists").trials
    storage.close()
    selection = final["selection"]
    winner = next(f for f in selection["finalists"] if f["trial"] == selection["winner"])
    test, validation = spread(final["test_macro_f1"]["values"]), spread(again)
    fresh = spread(winner["values"])
    rows = [
        ["search: minutes, worker-minutes", f"{minutes(trials):.1f}, {worker_minutes(trials):.1f}"],
        ["second stage: the same", f"{minutes(raced):.1f}, {worker_minutes(raced):.1f}"],
        [
            "the winner's trainings: worker-minutes",
            f"{sum(final['train_seconds']) / 60:.1f}",
        ],
        ["trials complete, pruned", f"{search['complete']}, {search['pruned']}"],
        ["epochs, without pruning", f"{trained}, {whole}"],
        ["trainings of the second stage", str(len(finished(raced)))],
        ["best search value", f"{search['best_value']:.4f}"],
        ["the winner in the second stage", shown(fresh, digits=4)],
        ["the same again, five more seeds", shown(validation, digits=4)],
        [
            "its replicates, validation macro-F1",
            shown(spread(final["val_macro_f1"]["values"]), digits=4),
        ],
        ["its replicates, test macro-F1", shown(test, digits=4)],
        ["mean of these", f"{statistics.fmean(final['test_macro_f1']['values']):.4f}"],
        ["openings of the test split", str(final["test_openings"])],
    ]
    table(f"{name}: {N_TRIALS} trials, second stage, {N_REPLICATES} replicates", ["", ""], rows)
    for found in (search, final):
        del found["storage"]  # a path of this machine
    result = {
        "minutes": {"search": minutes(trials), "finalists": minutes(raced)},
        "worker_minutes": {"search": worker_minutes(trials), "finalists": worker_minutes(raced)},
        "epochs": {"trained": trained, "without pruning": whole},
        "search": search,
        "final": final,
        "again": again,
    }
    save("end_to_end" if arch is None else f"end_to_end_{arch}", result)
