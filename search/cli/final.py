"""`bloodsearch final-eval`: choose on validation, retrain with several seeds, test once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ...studies import DEFAULT_STUDY
from ..errors import UsageError
from . import completion, output
from .final_tables import show_baselines, show_result
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
    StudyArgument,
    WorkersOption,
    placement,
)
from .progress import Screen
from .suggest import command, data_option, next_line, where


class Preference(StrEnum):
    """Which of the finalists near the best mean wins."""

    best = "best"
    small = "small"
    fast = "fast"


def final_eval(
    study: StudyArgument = DEFAULT_STUDY,
    trial: Annotated[
        int | None,
        typer.Option(
            "--trial",
            min=0,
            help="Evaluate this trial instead of choosing one.",
            autocompletion=completion.trials,
        ),
    ] = None,
    replicates: Annotated[
        int, typer.Option("--replicates", min=1, max=100, help="Trainings, each with its own seed.")
    ] = 5,
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines", help="Test every baseline's replicates, with one opening for all."
        ),
    ] = False,
    finalists: Annotated[
        int | None,
        typer.Option(
            "--finalists",
            min=1,
            max=100,
            help="Trials that are trained again with fresh seeds, at their own length, before one is "
            "chosen; 1 skips this. Default: the study's ladder of longer trainings, else 8.",
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(
            "--rounds",
            min=1,
            max=100,
            help="The largest number of fresh seeds per finalist. Default: as --finalists, else 5.",
        ),
    ] = None,
    prefer: Annotated[
        Preference,
        typer.Option(
            "--prefer", help="The finalist to choose within a standard error of the best mean."
        ),
    ] = Preference.best,
    max_params: Annotated[
        int | None,
        typer.Option(
            "--max-params", min=1, help="Choose among models with at most this many weights."
        ),
    ] = None,
    max_latency: Annotated[
        float | None,
        typer.Option(
            "--max-latency",
            metavar="MS",
            min=0.0,
            help="Choose among models that take at most MS milliseconds per image.",
        ),
    ] = None,
    tta: Annotated[
        bool,
        typer.Option(
            "--tta", help="Also score averages over the eight orientations, shown separately."
        ),
    ] = False,
    ensemble: Annotated[
        bool,
        typer.Option(
            "--ensemble", help="Also score the average of all replicates, shown separately."
        ),
    ] = False,
    train_val: Annotated[
        bool,
        typer.Option(
            "--train-val",
            help="Also train the winner on train and validation together, shown separately.",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Open the test split again; every opening is counted.")
    ] = False,
    unfinished: Annotated[
        bool,
        typer.Option("--unfinished", help="Evaluate although workers still train the search."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="DIR", help="Folder for result.json and weights; default final/NAME."
        ),
    ] = None,
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
    """Choose the winner on validation, retrain it with several seeds, open the test split once.

    Run the same command again to resume an interrupted evaluation. The split is opened only at the end.
    """
    from ..api.final import evaluate_winner, final_eval_baselines
    from ..api.study import load_study
    from ..api.winner import FinalRequest
    from ..evaluation.averaging import Averaging

    if baselines:
        given = {
            "--trial": trial is not None, "--replicates": replicates != 5,
            "--finalists": finalists is not None, "--rounds": rounds is not None,
            "--prefer": prefer is not Preference.best, "--max-params": max_params is not None,
            "--max-latency": max_latency is not None, "--tta": tta, "--ensemble": ensemble,
            "--train-val": train_val,
        }  # fmt: skip
        if others := [option for option, is_there in given.items() if is_there]:
            raise UsageError(
                f"--baselines tests every replicate that is trained; it goes without {', '.join(others)}"
            )
        tested = final_eval_baselines(
            study,
            storage=storage,
            name=name,
            force=force,
            out=out,
            data_root=data_root,
            on_progress=Screen(quiet=json),
        )
        if json:
            output.as_json(tested)
        else:
            show_baselines(tested)
        return
    screen = Screen(quiet=json)
    stored = load_study(study, storage=storage, name=name, on_progress=Screen(quiet=False))
    result = evaluate_winner(
        stored,
        FinalRequest(
            trial=trial,
            replicates=replicates,
            finalists=finalists,
            rounds=rounds,
            prefer=prefer.value,
            max_params=max_params,
            max_latency_ms=max_latency,
            averaging=Averaging(orientations=tta, replicates=ensemble),
            train_val=train_val,
            force=force,
            unfinished=unfinished,
            out=out,
            data_root=data_root,
            placement=placement(
                devices, workers, workers_per_device, cluster, gpus_per_worker, cpus_per_worker
            ),
            owns_process=True,
            snapshots=screen.draws,
        ),
        screen,
    )
    if json:
        output.as_json(result)
        return
    show_result(result)
    arguments = where(None, storage, stored.name)
    arguments += data_option(data_root)
    next_line(command("report", *arguments), command("export", *arguments))
