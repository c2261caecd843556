"""`bloodsearch worker` joins a study, `stop` drains it; `worker-process` is what the supervisor starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...studies import DEFAULT_STUDY
from ..errors import Interrupted, UsageError
from . import output
from .options import (
    DataRootOption,
    DebugOption,
    DevicesOption,
    NameOption,
    PerDeviceOption,
    StorageOption,
    StudyArgument,
    WorkersOption,
    find_study,
)


def worker(
    study: StudyArgument = DEFAULT_STUDY,
    storage: StorageOption = None,
    name: NameOption = None,
    data_root: DataRootOption = None,
    workers: WorkersOption = "auto",
    devices: DevicesOption = "auto",
    workers_per_device: PerDeviceOption = 1,
    debug: DebugOption = False,
) -> None:
    """Join a study from any machine until its budget is spent.

    The budget is what the last `bloodsearch optimize` of the study asked for, also while this runs.

    Example: bloodsearch worker bloodmnist --storage postgresql+psycopg://me@host/db
    """
    from ..study import info
    from ..workers.leases import Leases
    from ..workers.slots import plan_slots
    from ..workers.supervisor import Supervisor

    plan_slots(devices, workers, workers_per_device, threads=1)  # a wrong device is told first
    opened, found = find_study(study, storage, name)
    threads = info(found).study_file.training.threads
    slots = plan_slots(devices, workers, workers_per_device, threads=threads)
    budget = found.user_attrs.get("n_trials")
    if budget is None:
        raise UsageError(
            f"the study {found.study_name!r} has no budget yet; run `bloodsearch optimize --trials N`"
        )
    n = len(slots)
    output.message(
        f"{n} worker{'s' * (n > 1)} join{'s' * (n == 1)} {found.study_name} until it has {budget} trials"
    )
    Supervisor(Leases(opened, found), slots, data_root=data_root).run()
    output.message(f"{found.study_name} has its {found.user_attrs['n_trials']} trials")


def worker_process(
    study_name: str,
    device: Annotated[str, typer.Option()],
    slot: Annotated[str, typer.Option()],
    threads: Annotated[int, typer.Option(min=1)],
    storage: Annotated[str, typer.Option(envvar="BLOODSEARCH_STORAGE", show_envvar=False)],
    trials: Annotated[int | None, typer.Option(min=1)] = None,
    data_root: Annotated[Path | None, typer.Option()] = None,
) -> None:
    """One worker; started by the supervisor, which holds the other end of its standard input."""
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
    )
    try:
        run_worker(settings, drain)
    except Interrupted as drained:  # the supervisor tells the person at the terminal, once
        raise typer.Exit(drained.exit_code) from None
    except Recycle:
        raise typer.Exit(EXIT_RECYCLE) from None
