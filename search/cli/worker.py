"""`bloodsearch worker` joins a study; `worker-process` is the process that a supervisor starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...studies import DEFAULT_STUDY
from ..api.placement import Placement
from ..errors import Interrupted, UsageError
from . import output
from .options import (
    DataRootOption,
    DevicesOption,
    NameOption,
    PerDeviceOption,
    StorageOption,
    StudyArgument,
    WorkersOption,
    find_study,
)
from .suggest import command


def worker(
    study: StudyArgument = DEFAULT_STUDY,
    storage: StorageOption = None,
    name: NameOption = None,
    data_root: DataRootOption = None,
    workers: WorkersOption = "auto",
    devices: DevicesOption = "auto",
    workers_per_device: PerDeviceOption = 1,
) -> None:
    """Join a study from any machine until its budget is spent.

    The budget is the one of the study's last `bloodsearch optimize`, even if that comes later.

    Example: bloodsearch worker bloodmnist --storage postgresql+psycopg://me@host/db
    """
    from ..study import info
    from ..workers.leases import Leases
    from ..workers.supervisor import Supervisor

    placement = Placement(devices, workers, workers_per_device)
    placement.slots(threads=1)  # an error in the devices comes before one in the storage
    opened, stored = find_study(study, storage, name)
    slots = placement.slots(info(stored).study_file.training.threads)
    budget = stored.user_attrs.get("n_trials")
    if budget is None:
        where = ["--name", stored.study_name, "--storage", opened.shown]
        raise UsageError(
            f"study {stored.study_name!r} has no budget yet; "
            f"run {command('optimize', *where, '--trials', 'N')}"
        )
    n = len(slots)
    output.message(
        f"{n} worker{'s' * (n > 1)} join{'s' * (n == 1)} {stored.study_name} until it has {budget} trials"
    )
    Supervisor(Leases(opened, stored), slots, data_root=data_root).run()
    output.message(f"{stored.study_name} has its {stored.user_attrs['n_trials']} trials")


def worker_process(
    study_name: str,
    device: Annotated[str, typer.Option()],
    slot: Annotated[str, typer.Option()],
    threads: Annotated[int, typer.Option(min=1)],
    worker_id: Annotated[str, typer.Option()],
    storage: Annotated[str, typer.Option(envvar="BLOODSEARCH_STORAGE", show_envvar=False)],
    node: Annotated[str, typer.Option()] = "",
    trials: Annotated[int | None, typer.Option(min=1)] = None,
    data_root: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """Run one worker. Its supervisor holds the other end of its standard input."""
    from ..workers.shutdown import Drain
    from ..workers.worker import (
        EXIT_RECYCLE,
        Recycle,
        WorkerSettings,
        configure_logging,
        run_worker,
    )

    drain = Drain()
    drain.on_signals()
    drain.on_closed_stdin()
    configure_logging(storage)
    settings = WorkerSettings(
        storage_url=storage,
        study_name=study_name,
        device=device,
        slot=slot,
        threads=threads,
        data_root=data_root,
        n_trials=trials,
        worker_id=worker_id,
        node=node,
    )
    try:
        run_worker(settings, drain)
    except Interrupted as drained:  # the supervisor tells the user, once
        raise typer.Exit(drained.exit_code) from None
    except Recycle:
        raise typer.Exit(EXIT_RECYCLE) from None
