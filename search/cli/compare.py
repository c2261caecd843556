"""`bloodsearch compare`: show whether one configuration is better than another."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...studies import DEFAULT_STUDY
from ..env import storage_url
from ..errors import UsageError
from . import output
from .options import (
    ClusterOption,
    CpusPerWorkerOption,
    DataRootOption,
    DevicesOption,
    GpusPerWorkerOption,
    JsonOption,
    NameOption,
    PerDeviceOption,
    StorageOption,
    WorkersOption,
    placement,
)
from .progress import Screen

if TYPE_CHECKING:
    from ..evaluation.compare import Comparison


class SplitChoice(StrEnum):
    """The split whose scores are compared."""

    val = "val"
    test = "test"


SideArgument = Annotated[
    str,
    typer.Argument(help="STUDY (its winner), TRIAL, STUDY:TRIAL, a baseline or STUDY:BASELINE."),
]


def compare(
    a: SideArgument,
    b: SideArgument,
    split: Annotated[
        SplitChoice,
        typer.Option("--split", help="test: compare the scores of final-eval; opens nothing."),
    ] = SplitChoice.val,
    replicates: Annotated[
        int,
        typer.Option(
            "--replicates", min=0, max=100, help="Train up to this many where they are missing."
        ),
    ] = 0,
    storage: StorageOption = None,
    name: NameOption = None,
    data_root: DataRootOption = None,
    workers: WorkersOption = "auto",
    devices: DevicesOption = "auto",
    workers_per_device: PerDeviceOption = 1,
    cluster: ClusterOption = None,
    gpus_per_worker: GpusPerWorkerOption = 0,
    cpus_per_worker: CpusPerWorkerOption = None,
    json: JsonOption = False,
) -> None:
    """Show the difference of two configurations' mean macro-F1 over replicates, with an interval.

    Replicates with equal seeds are paired. A trial number alone belongs to the study --name, or to the
    default study.

    Example: bloodsearch compare A-cnn A-mlp
    """
    from ..api.training import train_queued
    from ..database.storage import open_storage
    from ..evaluation.compare import as_dict, find_side, queue_replicates
    from ..evaluation.compare import compare as compare_sides

    if replicates and split is SplitChoice.test:
        raise UsageError("--replicates trains and validates; only final-eval opens the test split")
    opened = open_storage(storage_url(storage), create=False)
    default = name or DEFAULT_STUDY
    sides = [find_side(opened, spec, default, split.value) for spec in (a, b)]
    if replicates:
        for side in sides:
            queued = queue_replicates(opened, side, replicates)
            if queued is not None:
                train_queued(
                    opened,
                    queued,
                    placement(
                        devices,
                        workers,
                        workers_per_device,
                        cluster,
                        gpus_per_worker,
                        cpus_per_worker,
                    ),
                    data_root=data_root,
                    on_progress=Screen(quiet=json),
                    owns_process=True,
                )
        sides = [find_side(opened, spec, default, split.value) for spec in (a, b)]
    comparison = compare_sides(*sides)
    shown = as_dict(comparison, split.value)
    if json:
        output.as_json(shown)
        return
    _show(comparison, shown, "validation" if split is SplitChoice.val else "test")


def _show(comparison: Comparison, shown: dict[str, Any], split: str) -> None:
    output.table(
        [f"{split} macro-F1", "mean#", "n#", "values"],
        [
            (s["label"], s["mean"], len(s["values"]), " ".join(f"{v:.4f}" for v in s["values"]))
            for s in (shown["a"], shown["b"])
        ],
    )
    for side in (comparison.a, comparison.b):
        if side.n_diverged:
            output.line(
                f"{side.n_diverged} more replicates of {side.label} diverged and have no value"
            )
    if comparison.lengths:
        a, b = comparison.lengths
        output.line(
            f"{comparison.a.label} trains {a} epochs and {comparison.b.label} {b}: the difference is also "
            "one of length"
        )
    d = comparison.difference
    how = "not paired: fewer than two common seeds"
    if d.paired:
        how = f"paired on {d.n_a} common seed{'s' * (d.n_a > 1)}"
    interval = f"95 % interval {d.low:+.4f} .. {d.high:+.4f}" if d.known else "no interval from one"
    output.line(f"difference {d.mean:+.4f}, {interval} ({how}): {comparison.verdict}")
    if not d.known:
        output.line("at least two replicates of each are needed: --replicates 3")
        return
    if d.sd == 0 == d.mean:
        return
    needed = d.needed()
    many = "more than 1000" if needed is None else f"about {needed}"
    output.line(
        f"to tell a difference of this size with 80 % probability: {many} replicates of each. "
        "The interval covers seeds only, not the uncertainty of the finite split."
    )
