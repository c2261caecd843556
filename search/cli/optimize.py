"""`bloodsearch optimize`: run or resume a search until the study holds N finished trials."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...studies import DEFAULT_STUDY, epochs_overrides, only_arch
from ..errors import BloodsearchError, UsageError
from . import output
from .options import (
    DataRootOption,
    DatasetChoice,
    DatasetOption,
    DebugOption,
    DevicesOption,
    JsonOption,
    NameOption,
    PerDeviceOption,
    SetOption,
    StorageOption,
    StudyArgument,
    WorkersOption,
    storage_url,
    study_file,
)
from .parts import DEFAULT_REPLICATES, Part, choose_parts, run_parts
from .progress import Progress
from .search_summary import next_arguments, show, show_created, show_unfinished

if TYPE_CHECKING:
    import optuna

    from ...studies import StudyFile
    from ..data.bloodmnist import Fingerprint
    from ..database.storage import Storage


class Arch(StrEnum):
    """The families that --arch knows."""

    mlp = "mlp"
    cnn = "cnn"


@dataclass(frozen=True, slots=True)
class Request:
    """What a search needs, as the command line or the demo asks for it."""

    study: StudyFile
    n_trials: int
    storage: str
    name: str | None = None
    dataset: str = "bloodmnist"
    data_root: Path | None = None
    workers: str = "auto"
    devices: str = "auto"
    per_device: int = 1
    timeout_s: float | None = None
    quiet: bool = False
    create_only: bool = False
    from_study: str | None = None
    """A stored study whose best points are tried first."""
    replicates: int | None = None
    """Train the study's baselines with this many seeds each, instead of searching."""


def optimize(
    study: StudyArgument = DEFAULT_STUDY,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials",
            min=1,
            max=1_000_000,
            help="The study's total of finished trials to reach.",
        ),
    ] = None,
    storage: StorageOption = None,
    name: NameOption = None,
    dataset: DatasetOption = DatasetChoice.bloodmnist,
    data_root: DataRootOption = None,
    workers: WorkersOption = "auto",
    devices: DevicesOption = "auto",
    workers_per_device: PerDeviceOption = 1,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", min=1, help="Epochs of a trial, any family; baselines keep theirs."
        ),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, help="Stop after SECONDS; resumable.")
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
            help="Seeds of each baseline, the same for all; default 3.",
        ),
    ] = None,
    arch: Annotated[
        Arch | None, typer.Option("--arch", help="Search one family alone; the study is NAME-ARCH.")
    ] = None,
    max_params: Annotated[
        int | None, typer.Option("--max-params", min=1, help="No larger models.")
    ] = None,
    max_latency: Annotated[
        float | None,
        typer.Option("--max-latency", min=0.0, help="No models over MS an image on one core."),
    ] = None,
    from_study: Annotated[
        str | None,
        typer.Option("--from-study", help="Try the best points of this stored study first."),
    ] = None,
    set_: SetOption = None,
    create_only: Annotated[
        bool,
        typer.Option("--create-only", help="Make the study and its budget, run nothing."),
    ] = False,
    json: JsonOption = False,
    debug: DebugOption = False,
) -> None:
    """Run or resume a search until the study holds N finished trials.

    The same command goes on where it stopped; a larger N adds the difference.

    Example: bloodsearch optimize --trials 100
    """
    overrides = list(set_ or [])
    overrides += [] if seed is None else [f"search.seed={seed}"]
    overrides += [] if max_params is None else [f"search.max_params={max_params}"]
    overrides += [] if max_latency is None else [f"search.max_latency_ms={max_latency}"]
    file = study_file(study, overrides)
    if epochs is not None:
        file = study_file(study, overrides + epochs_overrides(file, epochs))
    if arch is not None:
        from ..study import default_name

        file = only_arch(file, arch.value)
        name = name or default_name(file, dataset.value)
    parts = choose_parts(file, only, trials, replicates)
    if from_study is not None and (parts or file.search.sampler in ("grid", "baselines")):
        raise UsageError("--from-study goes with a search: a grid and baselines are points already")
    n_trials = trials or file.search.trials or 0
    if not n_trials and not parts:
        raise UsageError(f"--trials is missing; the study file {study} sets no search.trials")
    request = Request(
        study=file,
        n_trials=n_trials,
        storage=storage_url(storage),
        name=name,
        dataset=dataset.value,
        data_root=data_root,
        workers=workers,
        devices=devices,
        per_device=workers_per_device,
        timeout_s=timeout,
        quiet=json,
        create_only=create_only,
        from_study=from_study,
    )
    if parts:
        run_parts(request, parts, replicates or DEFAULT_REPLICATES, as_json=json)
    else:
        search(request, as_json=json, command=next_arguments(study, storage, name, dataset))


def search(
    request: Request,
    *,
    as_json: bool,
    command: str,
    collect: list[dict[str, Any]] | None = None,
) -> tuple[Storage, optuna.Study]:
    """Do what `request` asks and show the result; `command` is what to type for more.

    With `as_json` and a list to `collect` in, the summary goes there and not to standard output.
    """
    from ..data.bloodmnist import load_dataset
    from ..database.storage import open_storage
    from ..study import check_name, check_points, default_name
    from ..workers.leases import Leases
    from ..workers.slots import idle_cores, plan_slots
    from ..workers.supervisor import Supervisor

    started = time.monotonic()
    sink = (output.as_json if collect is None else collect.append) if as_json else None
    slots = plan_slots(
        request.devices,
        request.workers,
        request.per_device,
        threads=request.study.training.threads,
    )
    name = default_name(request.study, request.dataset) if request.name is None else request.name
    check_name(name)  # before a database is made for it
    check_points(request.study)
    fingerprint = load_dataset(request.dataset, request.data_root).fingerprint  # type: ignore[arg-type]
    opened = open_storage(request.storage, create=True)
    study, n_trials = _make_study(opened, name, request, fingerprint)
    if request.create_only:
        show_created(opened, study, time.monotonic() - started, sink, command)
        return opened, study
    if not request.quiet:
        output.message(
            f"study {name} on {fingerprint.describe()}, {len(slots)} "
            f"worker{'s' * (len(slots) > 1)} on {', '.join(sorted({s.label for s in slots}))}, "
            f"storage {opened.shown}"
        )
        if idle := idle_cores(slots):
            output.message(f"cores with nothing to do: {idle}; --workers auto uses all")
    leases = Leases(opened, study)
    with Progress(study, n_trials, quiet=request.quiet) as progress:
        supervisor = Supervisor(
            leases,
            slots,
            n_trials,
            data_root=request.data_root,
            timeout_s=request.timeout_s,
            on_tick=progress.update,
        )
        try:
            in_time = supervisor.run()
        except BloodsearchError:
            progress.poll()
            show_unfinished(opened, study, time.monotonic() - started, sink, command)
            raise
        progress.update()
    show(opened, study, time.monotonic() - started, sink, command, done=in_time)
    if not in_time and not request.quiet:
        output.message("the time is up before the last trial; the same command goes on")
    return opened, study


def _make_study(
    opened: Storage, name: str, request: Request, fingerprint: Fingerprint
) -> tuple[optuna.Study, int]:
    """The study, made or resumed, with its queue filled and its budget written down."""
    from ..evaluation.baselines import queue_baselines
    from ..study import create_or_resume
    from ..warm_start import warm_start

    n_trials = request.n_trials
    if request.replicates is None:
        study = create_or_resume(opened, name, request.study, fingerprint)
    else:
        study, n_trials = queue_baselines(
            opened, name, request.study, fingerprint, request.replicates
        )
    if request.from_study is not None:
        n_queued = warm_start(opened, study, request.from_study)
        if not request.quiet:
            first = f"{n_queued} points of {request.from_study} come first"
            output.message(
                first if n_queued else f"the points of {request.from_study} were queued before"
            )
    study.set_user_attr("n_trials", n_trials)
    return study, n_trials
