"""`bloodsearch optimize`: run or resume a search until the study holds N finished trials."""

from __future__ import annotations

from typing import Annotated

import typer

from ..api.parts import Part
from .options import (
    Arch,
    ClusterOption,
    CpusPerWorkerOption,
    DataRootOption,
    DevicesOption,
    GpusPerWorkerOption,
    JsonOption,
    MaxParamsOption,
    NameOption,
    NoBaselinesOption,
    OptionalDatasetOption,
    PerDeviceOption,
    SetOption,
    StorageOption,
    StoredStudyArgument,
    WorkersOption,
    placement,
)
from .progress import Screen
from .search_summary import Summaries


def optimize(
    study: StoredStudyArgument = None,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials",
            min=1,
            max=1_000_000,
            help="The study's total of finished trials to reach.",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            metavar="M",
            help="Instead of --trials: fit the study to M minutes on this machine, final trainings "
            "included. A stored study keeps its numbers.",
        ),
    ] = None,
    storage: StorageOption = None,
    name: NameOption = None,
    dataset: OptionalDatasetOption = None,
    data_root: DataRootOption = None,
    workers: WorkersOption = "auto",
    devices: DevicesOption = "auto",
    workers_per_device: PerDeviceOption = 1,
    cluster: ClusterOption = None,
    gpus_per_worker: GpusPerWorkerOption = 0,
    cpus_per_worker: CpusPerWorkerOption = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", min=1, help="Epochs per searched trial, any family; baselines keep theirs."
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", min=0, help="Stop after SECONDS; resumable."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="The search's seed.")] = None,
    only: Annotated[
        Part | None,
        typer.Option("--only", help="baselines: the study's named configurations; grid: its grid."),
    ] = None,
    replicates: Annotated[
        int | None,
        typer.Option(
            "--replicates",
            min=1,
            max=100,
            help="Seeds per baseline, the same for all; default 3.",
        ),
    ] = None,
    arch: Annotated[
        Arch | None, typer.Option("--arch", help="Search one family alone, as study NAME-ARCH.")
    ] = None,
    max_params: MaxParamsOption = None,
    max_latency: Annotated[
        float | None,
        typer.Option(
            "--max-latency",
            metavar="MS",
            min=0.0,
            help="No models that take more than MS milliseconds per image on one core.",
        ),
    ] = None,
    from_study: Annotated[
        str | None,
        typer.Option(
            "--from-study", metavar="NAME", help="Try the best points of this stored study early."
        ),
    ] = None,
    no_baselines: NoBaselinesOption = False,
    set_: SetOption = None,
    create_only: Annotated[
        bool,
        typer.Option("--create-only", help="Create the study and its budget, train nothing."),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Run or resume a search until the study holds N finished trials.

    Run the same command again to resume; a larger N adds the difference. --name NAME without a STUDY
    resumes the study NAME with the settings it was created with.

    Example: bloodsearch optimize --trials 100
    """
    from ..api.events import Event, SearchEnded
    from ..api.request import SearchRequest
    from ..api.search import run_search

    screen = Screen(quiet=json)
    summaries = Summaries(json, study, storage, data_root)

    def show(event: Event) -> None:
        screen(event)
        if isinstance(event, SearchEnded):
            summaries.add(event.result)

    request = SearchRequest(
        study=study,
        trials=trials,
        minutes=minutes,
        storage=storage,
        name=name,
        dataset=dataset,
        data_root=data_root,
        overrides=set_,
        epochs=epochs,
        seed=seed,
        arch=None if arch is None else arch.value,
        max_params=max_params,
        max_latency_ms=max_latency,
        baselines=not no_baselines,
        from_study=from_study,
        only=only,
        replicates=replicates,
        placement=placement(
            devices, workers, workers_per_device, cluster, gpus_per_worker, cpus_per_worker
        ),
        timeout_s=timeout,
        create_only=create_only,
        owns_process=True,
        snapshots=screen.draws,
    )
    try:
        run_search(request, show)
    finally:
        summaries.finish()
