"""The generic study on a small set: what benchmarks/digits.py and benchmarks/breastmnist.py share.

The commands are a user's: `optimize --dataset X --trials 20`, `final-eval`. With $BENCH_FOLDER an interrupted
run goes on. The test split is opened once, by `final-eval`. OPENED_BEFORE declares what no ledger of this run
can know.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.common import save, table
from benchmarks.end_to_end import bloodsearch, minutes, url_in
from bloodsearch.search.data.published import published
from bloodsearch.search.database.storage import open_storage
from bloodsearch.search.study import load
from bloodsearch.search.study_names import finalists_name, replicates_name

N_TRIALS, N_REPLICATES, N_FINALISTS, N_ROUNDS = 20, 5, 4, 2
OPENED_BEFORE = {"breastmnist": 1}
"""Openings of a test split in earlier runs of this benchmark, whose results were not kept."""


def measure(folder: Path, name: str, dataset: str) -> dict[str, Any]:
    """Search and evaluate a data set.

    Minutes are those in which trainings ran, and those of a processor that the commands took with all their
    workers. On a machine that others use, too, only the latter say what it costs.
    """
    done = folder / f"{name}.json"
    if done.exists():
        found: dict[str, Any] = json.loads(done.read_text())
        return found
    before = _processor_s()
    search = bloodsearch(folder, "optimize", "--dataset", dataset, "--trials", str(N_TRIALS))
    kept = folder / "final" / name / "result.json"
    searched = _processor_s()
    if not kept.exists():  # a second run must not open the test split again
        limits = ["--finalists", str(N_FINALISTS), "--rounds", str(N_ROUNDS)]
        bloodsearch(
            folder, "final-eval", "--name", name, "--replicates", str(N_REPLICATES), *limits
        )
    final = json.loads(kept.read_text())
    parts = finalists_name(name), replicates_name(name, final["trial"])
    for result in (search, final):
        del result["storage"]  # a path of this machine
    found = {
        "test_openings_in_all": final["test_openings"] + OPENED_BEFORE.get(name, 0),
        "minutes": {"search": _minutes(folder, name), "final": _minutes(folder, *parts)},
        "processor_minutes": {
            "search": (searched - before) / 60,
            "final": (_processor_s() - searched) / 60,
        },
        "search": search,
        "final": final,
    }
    done.write_text(json.dumps(found))
    return found


def _processor_s() -> float:
    """Seconds of a processor that all children took, and theirs, up to their ends."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _minutes(folder: Path, *studies: str) -> float:
    storage = open_storage(url_in(folder), create=False)
    try:
        return sum(minutes(load(storage, study).trials) for study in studies)
    finally:
        storage.close()


def _digits(row: dict[str, float], key: str) -> str:
    return f"{row[key]:.3f}" if key in row else ""


def run_set(name: str, make: Callable[[Path], str]) -> None:
    """Measure one set; `make` returns what --dataset takes, in a folder where files may be written."""
    folder = Path(os.environ.get("BENCH_FOLDER") or tempfile.mkdtemp(prefix="bs-any-data-"))
    folder.mkdir(parents=True, exist_ok=True)
    result = measure(folder, name, make(folder))
    final = result["final"]
    macro, accuracy, auc = (final[key] for key in ("test_macro_f1", "test_accuracy", "test_auc"))
    spent = [
        ", ".join(f"{value:.1f}" for value in result[clock].values())
        for clock in ("minutes", "processor_minutes")
    ]
    figures = [f"{s['mean']:.4f} (sd {s['std']:.4f})" for s in (macro, accuracy, auc)]
    opened = result["test_openings_in_all"]
    rows = [[f"bloodsearch, n = {macro['n']}", *spent, *figures, opened]]
    rows += [
        [f"{method}, published", "", "", "", _digits(row, "accuracy"), _digits(row, "auc"), ""]
        for method, row in published(name).items()
    ]
    table(
        f"generic study on {name}: {N_TRIALS} trials, {N_FINALISTS} finalists, {N_ROUNDS} rounds",
        [
            "what",
            "minutes: search, final",
            "of a processor",
            "test macro-F1",
            "accuracy",
            "AUC",
            "test openings",
        ],
        rows,
    )
    save(name, result)
