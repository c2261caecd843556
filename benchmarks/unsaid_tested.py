"""Test the settings of the course reports' unsaid choices that are best on validation, once.

    python -m benchmarks.unsaid_tested --storage sqlite:///unsaid.db      # continues where it stopped

`python -m benchmarks.unsaid` has to be complete. One batch size and one stop rule are chosen for all
configurations with a published figure that ours missed, by the mean on validation. They are trained as
baselines of one study, with the seeds of replicates, and a final evaluation on the record opens the test
split for all of them together.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import unsaid
from benchmarks.common import RESULTS, save, table
from bloodsearch.search.api.final import final_eval_baselines
from bloodsearch.search.api.search import optimize
from bloodsearch.search.sampling.space import Params, without_length

MISSED = ("A-cnn", *(f"B-{family}-{i}" for family in ("mlp", "cnn") for i in range(1, 5)))
REPLICATES = 3


def study(
    wanted: Sequence[unsaid.Published], batch: int, reading: unsaid.Reading
) -> dict[str, Any]:
    """Return the study of the configurations with the chosen settings, without those that train alike."""
    params: dict[str, Params] = {}
    for one in wanted:
        name = unsaid.TRAIN_ALIKE.get(one.name, one.name)
        if name == one.name:
            params[name] = without_length(one.params) | {"batch_size": batch}
    return {
        "name": "unsaid",
        "search": {"sampler": "baselines"},
        "training": {
            "epochs": unsaid.EPOCHS,
            "final_epochs": unsaid.EPOCHS,
            "patience": reading.patience or 0,
        },
        "baselines": [{"name": name, "params": point} for name, point in params.items()],
    }


def show(found: dict[str, Any], wanted: Sequence[unsaid.Published], settings: str) -> None:
    """Print each report's published figures beside the tested ones."""
    by_name = {row["name"]: row for row in found["configurations"]}
    for report in ("A", "B"):
        rows = []
        for one in wanted:
            if one.name[0] != report:
                continue
            row = by_name[unsaid.TRAIN_ALIKE.get(one.name, one.name)]
            scores = row[f"test_{one.metric}"]["values"]
            n_reach = sum(score >= one.value for score in scores)
            mean = statistics.fmean(scores)
            verdict = "reached" if mean >= one.value else "not reached"
            if mean < one.value and n_reach:
                verdict = f"reached by {n_reach} of {len(scores)} trainings alone"
            rows.append(
                [one.name, one.metric, f"{one.value:.4f}", f"{mean:.4f}",
                 f"{statistics.stdev(scores):.4f}", len(scores), verdict]
            )  # fmt: skip
        columns = ["configuration", "metric", "published", "test, mean", "sd", "n", "verdict"]
        table(f"report {report}, tested once with {settings}", columns, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--storage", required=True)
    given = parser.parse_args(arguments)
    runs = json.loads((RESULTS / "unsaid.json").read_text())["result"]
    wanted = [one for one in unsaid.configurations() if one.name in MISSED]
    if unsaid.complete(runs, wanted, unsaid.SEEDS) != wanted:
        sys.exit(
            "the settings are not chosen yet: first run python -m benchmarks.unsaid to its end"
        )
    batch, reading = unsaid.chosen(runs, wanted, unsaid.SEEDS)
    settings = f"batch {batch}, {reading}"
    print(f"chosen on validation: {settings}", flush=True)
    where: dict[str, Any] = {"storage": given.storage, "name": "unsaid"}
    optimize(study(wanted, batch, reading), only="baselines", replicates=REPLICATES, **where)
    with tempfile.TemporaryDirectory() as folder:
        found = final_eval_baselines(out=Path(folder) / "final", **where)
    show(found, wanted, settings)
    save("unsaid_tested", {"settings": settings, "configurations": found["configurations"]})


if __name__ == "__main__":
    main()
