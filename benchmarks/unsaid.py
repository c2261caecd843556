"""Vary what the course reports leave unsaid: batch size, patience, what it watches, which weights count.

    python -m benchmarks.unsaid --minutes 40      # trains for so long, and continues where it stopped
    python -m benchmarks.unsaid --only A-mlp,A-cnn
    python -m benchmarks.unsaid --minutes 0       # only prints the tables of what was trained
    python -m benchmarks.unsaid_tested            # tests the settings that are best on validation

Each (configuration, batch size, seed) is trained once, for 100 epochs at a constant learning rate. A shorter
training under any stop rule is the beginning of that one, so all stop rules are read from its curves. NLL
on log-softmax is cross-entropy bit for bit, so report B's eight configurations are four trainings.
Scores are those of the validation split; the published ones are of the test split, which stays closed.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from benchmarks import common
from benchmarks.common import in_own_process, in_parallel, save, table
from bloodsearch.search.course.stop_rules import Rule, stop
from bloodsearch.search.sampling.space import Params, baseline_params, to_config, without_length
from bloodsearch.studies import load_study_file

EPOCHS = 100
BATCHES = (32, 64, 128)
SEEDS = 3
PATIENCES = (5, 10, 20)
N_BEST, N_WORST = 6, 3
"""Settings of each report that are shown."""
OURS = ("macro_f1", "best")
"""What bloodsearch's own trainings watch, and the weights that they keep."""
Watched = Literal["loss", "accuracy", "macro_f1"]
WATCHED: tuple[Watched, ...] = ("loss", "accuracy", "macro_f1")
TRAIN_ALIKE = {
    "B-mlp-3": "B-mlp-1",
    "B-mlp-4": "B-mlp-2",
    "B-cnn-3": "B-cnn-1",
    "B-cnn-4": "B-cnn-2",
}
"""Configurations with NLL, and the one with cross-entropy that trains bit for bit alike."""

Curves = Mapping[str, Sequence[float]]
"""loss, accuracy, macro_f1 and weighted_f1 of the validation split by epoch."""
Runs = dict[str, dict[str, Any]]


@dataclasses.dataclass(frozen=True, slots=True)
class Published:
    """A named configuration and the figure that its report prints."""

    name: str
    params: Params
    metric: str
    value: float


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """One way to stop and to keep weights. Without patience all epochs are trained."""

    patience: int | None
    watched: Watched
    kept: Literal["last", "best"]

    def __str__(self) -> str:
        if self.patience is None:
            end = "no patience"
            return f"{end}, last weights" if self.kept == "last" else f"{end}, best {self.watched}"
        return f"patience {self.patience} on {self.watched}, {self.kept} weights"


def readings() -> list[Reading]:
    """Return all ways to stop; without patience the last weights do not depend on what is watched."""
    ways = [Reading(p, w, k) for p in PATIENCES for w in WATCHED for k in ("last", "best")]
    return [*ways, Reading(None, "loss", "last"), *(Reading(None, w, "best") for w in WATCHED)]


def kept_epoch(curves: Curves, reading: Reading) -> int:
    """Return the epoch, from 1, whose weights `reading` keeps."""
    curve = [-v for v in curves["loss"]] if reading.watched == "loss" else curves[reading.watched]
    rule = Rule(patience=len(curve) if reading.patience is None else reading.patience)
    end = stop(curve, rule)
    assert end is not None
    return end.kept if reading.kept == "best" else end.last


def configurations() -> list[Published]:
    """Return the named configurations of both reports that have a published figure."""
    return [
        Published(b.name, baseline_params(b), metric, b.published[metric])
        for report, metric in (("report_a", "macro_f1"), ("report_b", "weighted_f1"))
        for b in load_study_file(report).baselines
        if metric in b.published
    ]


def key(name: str, batch: int, seed: int) -> str:
    return f"{TRAIN_ALIKE.get(name, name)}, batch {batch}, seed {seed}"


def child(name: str, batch: int, seed: int, epochs: int, dataset: str) -> None:
    """Train once and print the curves as JSON; a diverged training has the epochs before."""
    import torch

    from bloodsearch.search.data.load import load_dataset
    from bloodsearch.search.training.device import choose_precision, to_device
    from bloodsearch.search.training.endings import Diverged
    from bloodsearch.search.training.history import EpochResult
    from bloodsearch.search.training.loop import Training
    from bloodsearch.search.training.metrics import confusion_on_device, scores
    from bloodsearch.search.training.predict import predict_logits

    torch.set_num_threads(1)
    data = to_device(load_dataset(dataset), torch.device("cpu"))
    params = next(c.params for c in configurations() if c.name == name)
    point = without_length(params) | {"batch_size": batch}
    config = to_config(point, epochs=epochs, patience=0)
    training = Training(config, data, seed, None, choose_precision(data.device))
    curves: dict[str, list[float]] = {"loss": [], "accuracy": [], "macro_f1": [], "weighted_f1": []}

    def record(result: EpochResult) -> None:
        predicted = predict_logits(training.model, data.val_images, training.dtype).argmax(dim=1)
        counts = (
            confusion_on_device(data.val_labels, predicted, config.model.shape.classes)
            .cpu()
            .numpy()
        )
        curves["loss"].append(result.val_loss)
        curves["accuracy"].append(result.val_accuracy)
        curves["macro_f1"].append(result.val_macro_f1)
        curves["weighted_f1"].append(scores(counts).weighted_f1)

    started, diverged = time.process_time(), False
    try:
        training.train(record, lambda: False, None)
    except Diverged:
        diverged = True
    rounded = {k: [round(v, 6) for v in values] for k, values in curves.items()}
    seconds = round(time.process_time() - started, 1)
    print(json.dumps({**rounded, "diverged": diverged, "cpu_seconds": seconds}))


def work(
    wanted: Sequence[Published], done: Mapping[str, Any], seeds: int
) -> Iterator[tuple[str, int, int]]:
    """Yield the trainings that are missing: every configuration with one seed before any second seed."""
    seen = set(done)
    for seed, batch, one in itertools.product(range(seeds), BATCHES, wanted):
        name = TRAIN_ALIKE.get(one.name, one.name)
        if key(name, batch, seed) not in seen:
            seen.add(key(name, batch, seed))
            yield name, batch, seed


def train(
    tasks: Sequence[tuple[str, int, int]],
    runs: Runs,
    train_one: Callable[[str, int, int], dict[str, Any]],
    *,
    until: float,
    workers: int,
) -> None:
    """Train `tasks`, several at a time, and store each result as it comes; none starts after `until`."""

    def keep(task: tuple[str, int, int], result: dict[str, Any]) -> None:
        runs[key(*task)] = result
        print(key(*task), f"{max(result['macro_f1'], default=0):.4f}", flush=True)
        save("unsaid", runs)

    in_parallel(tasks, lambda task: train_one(*task), keep, workers=workers, until=until)


def values(runs: Runs, one: Published, batch: int, reading: Reading, seeds: int) -> list[float]:
    """Return the figure of each seed trained so far; a diverged training has none."""
    found = [runs.get(key(one.name, batch, seed)) for seed in range(seeds)]
    return [
        run[one.metric][kept_epoch(run, reading) - 1]
        for run in found
        if run is not None and not run["diverged"]
    ]


def chosen(runs: Runs, wanted: Sequence[Published], seeds: int) -> tuple[int, Reading]:
    """Return the batch size and stop rule with the best mean on validation, of those that bloodsearch has."""
    ways = [(b, r) for b in BATCHES for r in readings() if (r.watched, r.kept) == OURS]
    return max(ways, key=lambda way: _mean(runs, wanted, way, seeds))


def _mean(runs: Runs, wanted: Sequence[Published], way: tuple[int, Reading], seeds: int) -> float:
    means = [statistics.fmean(v) for one in wanted if (v := values(runs, one, *way, seeds))]
    return statistics.fmean(means) if means else -1.0


def show(runs: Runs, wanted: Sequence[Published], seeds: int) -> None:
    """Print by report whether each published figure was reached, and what each choice is worth on average."""
    for report in sorted({one.name[0] for one in wanted}):
        _show(f"report {report}", runs, [one for one in wanted if one.name[0] == report], seeds)


def _show(report: str, runs: Runs, wanted: Sequence[Published], seeds: int) -> None:
    rows, ways = [], [(b, r) for b in BATCHES for r in readings()]
    for one in wanted:
        tried = {way: v for way in ways if (v := values(runs, one, *way, seeds))}
        if not tried:
            continue
        best = max(tried, key=lambda way: statistics.fmean(tried[way]))
        of_best = tried[best]
        reaching = [sum(value >= one.value for value in v) for v in tried.values()]
        n_means = sum(statistics.fmean(v) >= one.value for v in tried.values())
        rows.append(
            [one.name, one.metric, f"{one.value:.4f}", f"{statistics.fmean(of_best):.4f}",
             f"{statistics.stdev(of_best):.4f}" if len(of_best) > 1 else "-", len(of_best),
             f"batch {best[0]}, {best[1]}", f"{n_means} of {len(tried)}",
             f"{sum(reaching)} of {sum(map(len, tried.values()))}"]
        )  # fmt: skip
    columns = ["configuration", "metric", "published (test)", "best settings (validation), mean"]
    columns += ["sd", "n", "settings", "settings whose mean reaches it", "trainings that reach it"]
    title = f"{report}: the published figures under the settings that it leaves unsaid"
    table(title, columns, rows)
    effects = []
    for way in ways:
        n = sum(bool(values(runs, one, *way, seeds)) for one in wanted)
        effects.append([way[0], str(way[1]), f"{_mean(runs, wanted, way, seeds):.4f}", n])
    effects.sort(key=lambda row: str(row[2]), reverse=True)
    columns = ["batch size", "stop rule", "mean over configurations", "configurations"]
    table(f"{report}: each setting (validation), the best and the worst", columns,
          [*effects[:N_BEST], *effects[-N_WORST:]])  # fmt: skip


def complete(runs: Runs, wanted: Sequence[Published], seeds: int) -> list[Published]:
    """Return the configurations of which all trainings are stored."""
    names = set(runs)
    return [
        one
        for one in wanted
        if all(key(one.name, b, s) in names for b in BATCHES for s in range(seeds))
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--minutes", type=float, default=1e6, help="start no training after so long"
    )
    parser.add_argument("--only", default="", help="names of configurations, separated by commas")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument(
        "--epochs", type=int, default=EPOCHS, help="fewer for a trial of this script"
    )
    parser.add_argument("--dataset", default="bloodmnist")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--results", type=Path, help="another folder for unsaid.json")
    parser.add_argument("--child", nargs=5)
    given = parser.parse_args(arguments)
    if given.child is not None:
        name, batch, seed, epochs, dataset = given.child
        return child(name, int(batch), int(seed), int(epochs), dataset)
    if given.results is None and (given.epochs, given.dataset) != (EPOCHS, "bloodmnist"):
        parser.error("other epochs or data need another folder: --results")
    if given.results is not None:
        common.RESULTS = given.results
    path = common.RESULTS / "unsaid.json"
    runs: Runs = json.loads(path.read_text())["result"] if path.exists() else {}
    names = set(filter(None, given.only.split(",")))
    wanted = [c for c in configurations() if not names or c.name in names]

    def in_a_process(name: str, batch: int, seed: int) -> dict[str, Any]:
        task = (name, str(batch), str(seed), str(given.epochs), given.dataset)
        result: dict[str, Any] = in_own_process("unsaid", "--child", *task)
        return result

    until = time.monotonic() + 60 * given.minutes
    tasks = list(work(wanted, runs, given.seeds))
    print(f"{len(runs)} trainings are stored, {len(tasks)} are missing", flush=True)
    train(tasks, runs, in_a_process, until=until, workers=given.workers)
    # a configuration that was trained in part would change the means over configurations
    show(runs, complete(runs, wanted, given.seeds) or wanted, given.seeds)
    save("unsaid", runs)


if __name__ == "__main__":
    main()
